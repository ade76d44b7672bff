"""What this machine can and cannot give to containers, with the reason and the remedy. Runs without the platform.

    python -m windlass.worker.host [--home DIR] [--worker PID] [--json]

Version numbers say little, so the checks do the thing: a node is made in a scratch folder of the home, a network, an
overlay and a container are tried in it, and all is taken away again. Cheap checks come first: they explain failures.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from windlass import exception, paths
from windlass.wire.messages import network as messages
from windlass.worker import cgroups, gpus, network, node, overlay, pause, programs, sources, userns
from windlass.worker.buckets import rclone
from windlass.worker.buckets import service as bucket_service
from windlass.worker.images import configured, report
from windlass.worker.runtime import probe
from windlass.worker.sandboxes import levels, sentry, starting
from windlass.worker.sandboxes.vm import parts as vm_parts

MUST = "functions"  # without it no function runs
IMAGES = "images"  # without it no image is built
NETWORK = "network"  # without it containers have only loopback
PROTECTION = "protection"  # without it containers run with one wall less
BUCKETS = "buckets"  # without it no bucket is mounted
PROXIES = "proxies"  # without it containers cannot leave by an address of choice
PRIVATE = "private networks"  # without it outbound lists, or i6pn, are refused
GPUS = "GPUs"  # without it none is lent
SANDBOXES = "sandboxes"  # without it there is one way less to isolate them
SETTINGS = "settings"  # without it builds may not reach what they install from
_SYSTEMD = Path("/run/systemd/system")

_PROCESSOR = "x86_64"  # of the calls that start commands in sandboxes
_CHECKPOINT = 'works for runtime="gvisor", by runsc checkpoint and restore'
_LEVEL_REMEDIES = {
    "gvisor": "Install a recent runsc: the package of that name (Debian 13 or newer), or gvisor.dev.",
    "vm": vm_parts.REMEDY,
}
_KERNEL = (5, 11)  # overlay mounts in user namespaces
_PROGRAMS = {
    "nsenter": MUST, "setpriv": MUST, "ip": MUST, "nft": MUST, "conmon": MUST, "mmdebstrap": IMAGES,
    "skopeo": IMAGES,
}  # fmt: skip
_USER_PROGRAMS = {"newuidmap": MUST, "newgidmap": MUST, "slirp4netns": NETWORK}


class Check(TypedDict):
    """``need``: what it is needed for (one of the words above). ``remedy``: "" where ``ok``, or where there is none."""

    name: str
    ok: bool
    need: str
    detail: str
    remedy: str


def look(home: Path, *, worker: int = 0) -> list[Check]:
    """All checks, from outside of any node. ``worker``: the running one, for its environment is what builds see."""
    checks = [*_programs(), _kernel(), *_namespaces()]
    if os.geteuid() != 0:
        checks += [_ids(), _tun()]
    with _scratch(home) as folder:
        checks += _tried(folder)
    return [*checks, *_settings(home, worker)]


def _tried(folder: Path) -> list[Check]:
    """Make a node in ``folder`` and look from its inside."""
    try:
        place = node.up(folder)
    except (exception.Error, OSError) as exc:
        return [_check("node namespace", False, MUST, str(exc), getattr(exc, "hint", "") or "See the checks above.")]
    try:
        how = {"veth": "own network, NAT by the host", "slirp": "own network by slirp4netns"}
        checks = [_check("node namespace", True, MUST, how.get(place.uplink.kind, "the host's network"))]
        line = [sys.executable, "-m", "windlass.worker.host", "--home", str(folder), "--inside"]
        done = subprocess.run(node.enter_argv(place, line), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            checks.append(_check("inside of the node", False, MUST, _last(done.stderr), ""))
        else:
            checks += json.loads(done.stdout)
        return checks + _limits(place)
    finally:
        # Files of mapped users can be deleted from inside only.
        leftover = [str(path) for path in folder.iterdir() if path != paths.run(folder)]
        subprocess.run(node.enter_argv(place, ["rm", "-rf", "--", *leftover]), check=False, capture_output=True)
        node.down(folder)
        shutil.rmtree(paths.run(folder), ignore_errors=True)


def inside(home: Path) -> list[Check]:
    """The checks that need the inside of the node of ``home``."""
    place = node.load(home)
    assert place is not None
    checks = [*asyncio.run(_walls(place)), _runtime(place)]
    return [*checks, *asyncio.run(_sandboxes(place))]


async def _walls(place: node.Node) -> list[Check]:
    return [
        _overlay(place), await _network(place), _proxies(place), await _private(place), await _mapped(place),
        _buckets(), _gpus(),
    ]  # fmt: skip


def _proxies(place: node.Node) -> Check:
    kind, there = place.uplink.kind, sources.load(place.home)["there"]
    if kind == "veth" and there:
        return _check("proxies", True, PROXIES, f"containers can leave by {', '.join(there)}")
    return _check("proxies", False, PROXIES, sources.WHY[kind], "Run the platform as root, where it is to have them.")


async def _private(place: node.Node) -> Check:
    """Private IPv6 addresses, and lists of what may be reached: both are tried."""
    plan: messages.NetworkPlan = {
        "cidrs": [], "domains": ["example.com"], "address": "fdaa::1", "group": "doctor"
    }  # fmt: skip
    if place.uplink.kind == "none":
        return _check("lists and i6pn", False, PRIVATE, "containers have loopback only", _tun()["remedy"])
    try:
        async with network.NetworkPool(place, size=1) as pool, pool.lease("doctor", block_network=False, plan=plan):
            detail = "lists of what may be reached, and private IPv6 addresses; no IPv6 to the outside"
            return _check("lists and i6pn", True, PRIVATE, detail)
    except (exception.Error, OSError) as exc:
        remedy = "Load the kernel modules nf_tables, nft_log and nft_nat; IPv6 must not be off (ipv6.disable=1)."
        return _check("lists and i6pn", False, PRIVATE, str(exc), remedy)


def _gpus() -> Check:
    found = gpus.here()
    if not found.devices:
        return _check("GPUs", True, GPUS, "none, or no driver of NVIDIA's is loaded")
    names = ", ".join(f"{one.model} (gpu={one.kind!r})" for one in found.devices.values())
    problem = found.problem()
    remedy = "As root: nvidia-modprobe -u -c 0 makes the nodes; reinstall the driver where its libraries are missing."
    return _check("GPUs", not problem, GPUS, f"{names}: {problem}" if problem else names, remedy)


def _buckets() -> Check:
    try:
        bucket_service.check()
    except exception.Error as exc:
        return _check("buckets", False, BUCKETS, str(exc), exc.hint)
    line, env = [rclone.PROGRAM, "version"], {"PATH": programs.PATH}
    said = subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=20).stdout
    if rclone.is_too_old(said):
        remedy = "Install rclone 1.60 or newer: that of Debian 12 or Ubuntu 24.04, or rclone.org's package."
        return _check("buckets", False, BUCKETS, f"{said.splitlines()[0]} is too old to mount them", remedy)
    return _check("buckets", True, BUCKETS, "rclone can serve them")


def _overlay(place: node.Node) -> Check:
    scratch = place.inside / "overlay"
    folders = {name: scratch / name for name in ("lower", "upper", "work", "top")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    try:
        overlay.mount(folders["top"], lowers=[folders["lower"]], upper=folders["upper"], work=folders["work"])
        overlay.unmount(folders["top"])
    except exception.Error as exc:
        remedy = "Put the home (WINDLASS_HOME) on ext4, xfs or btrfs; network file systems and overlays do not fit."
        return _check("overlay file system", False, MUST, str(exc), remedy)
    return _check("overlay file system", True, MUST, "layers can be stacked on the home's file system")


async def _network(place: node.Node) -> Check:
    try:
        async with network.NetworkPool(place, size=1) as pool:
            async with pool.lease("doctor", block_network=False) as lease:
                if lease.address:
                    return _check("container network", True, NETWORK, "with rules for what may be reached")
    except (exception.Error, OSError) as exc:
        return _check("container network", False, MUST, str(exc), "Load the kernel modules veth, nf_tables and nf_nat.")
    return _check("container network", False, NETWORK, "containers have loopback only", _tun()["remedy"])


async def _mapped(place: node.Node) -> Check:
    lines: list[str] = []
    try:
        env = {"PATH": programs.PATH}
        code = await userns.run(["true"], namespace=place.userns, env=env, log=lines.append, timeout=10)
    except (exception.Error, OSError) as exc:
        code, lines = 1, [str(exc)]
    detail = "".join(lines).strip() or ("host programs run as a container's root" if not code else f"exit code {code}")
    return _check("mapped host programs", not code, IMAGES, detail)


def _runtime(place: node.Node) -> Check:
    run, scratch = paths.run(place.home), place.inside / "containers"
    scratch.mkdir(exist_ok=True)
    for folder in (place.inside, scratch):
        folder.chmod(0o711)
    try:
        chosen, found = probe.choose(run, exits=run / "exits", scratch=scratch)
    except exception.Error as exc:
        return _check("OCI runtime", False, MUST, str(exc), exc.hint)
    others = "".join(f"; {verdict.name}: {verdict.why}" for verdict in found if verdict.why)
    return _check("OCI runtime", True, MUST, f"{chosen.name}{others}")


async def _sandboxes(place: node.Node) -> list[Check]:
    """How sandboxes can be isolated, by the names of ``Sandbox.create(runtime=…)``, and what keeps their memory."""
    run = paths.run(place.home)
    if platform.machine() != _PROCESSOR:
        remedy = "Use a machine with an x86-64 processor for them; functions run here."
        return [_check("sandboxes", False, SANDBOXES, f"they need {_PROCESSOR}, this is {platform.machine()}", remedy)]
    async with starting.Starting(run, run / "exits") as starter:
        found = await levels.look(place.inside, starter, patient=True)
    checks = [
        _level(f'sandboxes, runtime="{name}"', why, found.notes.get(name, ""), _LEVEL_REMEDIES.get(name, ""))
        for name, why in found.reasons.items()
    ]
    served = "" if not found.reasons[sentry.LEVEL] else f'they need runtime="gvisor": {found.reasons[sentry.LEVEL]}'
    return [*checks, _level("sandboxes, memory snapshots", served, "", _LEVEL_REMEDIES[sentry.LEVEL], _CHECKPOINT)]


def _level(name: str, why: str, note: str, remedy: str, good: str = "works") -> Check:
    """What no machine must have is no fault where it is not there."""
    lacks = why or note
    detail = f"not here: {why}" if why else f"works, but {note}" if note else good
    return {
        "name": name, "ok": not note, "need": SANDBOXES, "detail": detail, "remedy": remedy if lacks else "",
    }  # fmt: skip


def _programs() -> Iterator[Check]:
    for name, need in (_PROGRAMS | (_USER_PROGRAMS if os.geteuid() else {})).items():
        place = shutil.which(name)
        remedy = f"As root: apt-get install {programs.PACKAGES[name]}"
        yield _check(name, place is not None, need, place or "not installed", remedy)


def _kernel() -> Check:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return _check("kernel", numbers >= _KERNEL, MUST, release, f"Linux {_KERNEL[0]}.{_KERNEL[1]} or newer is needed.")


def _namespaces() -> Iterator[Check]:
    """Switches by which distributions forbid user namespaces: the name, the value wanted, whether root is bound too."""
    switches = (
        ("user.max_user_namespaces", 65536, True),
        ("kernel.unprivileged_userns_clone", 1, False),
        ("kernel.apparmor_restrict_unprivileged_userns", 0, False),
    )
    for name, wanted, everybody in switches:
        with contextlib.suppress(OSError, ValueError):
            value = int((Path("/proc/sys") / name.replace(".", "/")).read_text())
            ok = bool(value) == bool(wanted) or not (everybody or os.geteuid())
            yield _check(name, ok, MUST, str(value), f"As root: sysctl -w {name}={wanted}")


def _ids() -> Check:
    missing = []
    for file in ("subuid", "subgid"):
        table = Path("/etc") / file
        if pause.subordinate(table.read_text() if table.exists() else "", pause.names()) is None:
            missing.append(file)
    options = " ".join(f"--add-{file}s 100000-165535" for file in missing)
    return _check(
        "subordinate ids", not missing, MUST,
        f"missing in /etc/{' and /etc/'.join(missing)}" if missing else "65536 ids for containers",
        f"As root: usermod {options} {pause.names()[0]}",
    )  # fmt: skip


def _tun() -> Check:
    able = os.access(node.TUN, os.R_OK | os.W_OK)
    detail = "may be opened" if able else f"this user may not open {node.TUN}"
    return _check(str(node.TUN), able, NETWORK, detail, f"As root: chmod 666 {node.TUN}")


def _limits(place: node.Node) -> list[Check]:
    missing = [_check("limit", False, PROTECTION, gap, _for_limits()) for gap in cgroups.gaps(place.groups)]
    return missing or [_check("limits", True, PROTECTION, "CPU, memory and number of processes can be limited")]


def _for_limits() -> str:
    if os.geteuid() == 0:
        return "Mount the control groups of the machine writable at /sys/fs/cgroup."
    if not _SYSTEMD.exists():
        return "Run the platform as root: only systemd gives users control groups, and this machine runs without it."
    return f"As root: loginctl enable-linger {pause.names()[0]}. Then: windlass server restart"


def _settings(home: Path, worker: int) -> Iterator[Check]:
    """What builds see of this machine's settings."""
    own, environ = home / configured.FILE, _environ(worker)
    if environ is None:
        sight = report.Sight(os.environ, "this shell", own)
    else:
        sight = report.Sight(environ, "the running worker", own, os.environ)
    for item in report.items(sight):
        yield _check(item.name, not item.problem, SETTINGS, item.detail, item.problem)


def _environ(pid: int) -> dict[str, str] | None:
    """The environment that a process was started with; None where there is none, or it is not ours to see."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pid else []
    except OSError:
        return None
    found = (os.fsdecode(pair).partition("=") for pair in pairs if b"=" in pair)
    return {name: value for name, _, value in found} or None


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder on the home's file system, or elsewhere where this user may write nothing there; a home that was not
    there is not there afterwards."""
    made = not home.exists()
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".doctor-", dir=home))
    except PermissionError:
        folder = Path(tempfile.mkdtemp(prefix=".doctor-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                home.rmdir()


def _check(name: str, ok: bool, need: str, detail: str, remedy: str = "") -> Check:
    return {"name": name, "ok": ok, "need": need, "detail": detail, "remedy": "" if ok else remedy}


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the checks; 1 where functions cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m windlass.worker.host")
    parser.add_argument("--home", type=Path, default=paths.home())
    parser.add_argument("--worker", type=int, default=0, help="the process id of the running worker")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    programs.look_everywhere()
    if options.inside:
        print(json.dumps(inside(options.home)))
        return 0
    checks = look(options.home.absolute(), worker=options.worker)
    if options.json:
        print(json.dumps(checks, indent=2))
    else:
        for check in checks:
            remedy = f" – {check['remedy']}" if check["remedy"] else ""
            print(f"{'yes' if check['ok'] else 'NO ':3} {check['name']}: {check['detail']}{remedy}")
    return 0 if all(check["ok"] for check in checks if check["need"] == MUST) else 1


if __name__ == "__main__":
    sys.exit(main())
