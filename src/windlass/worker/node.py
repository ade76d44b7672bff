"""The node namespace: what the worker and all containers live in, so that the worker is never root on the host.

    python -m windlass.worker.node up|down|status|sources --home DIR

``up`` starts the pause process (``pause.py``), the uplink (``uplink.py``) and the groups for limits (``cgroups.py``)
and writes down what it made; when it is up already, ``up`` finds it by that record. ``down`` ends every process inside
and takes everything away, whether the record is whole or not. Root and ordinary users differ only in what is picked.
``sources`` sees what addresses the machine has by now (``sources.py``).
"""
from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception, paths
from windlass.worker import cgroups, folder, linux, pause, sources, uplink

_LIVING = ("oci", "c", "exits", "names", "starters", "runtimes.json")
"""What the worker keeps in the run folder for as long as there are processes inside."""

TUN = Path("/dev/net/tun")  # slirp4netns needs it
_BUSY = 5.0  # seconds that the last processes of a group may take to vanish


class Node(NamedTuple):
    """What ``up`` made.

    ``view``: a folder inside the node that every user there can reach; ``inside`` is the home folder below it.
    Root file systems of containers and sources of their mounts must be named through it, because a folder above the
    home may be closed to other users. ``userns``: the user namespace mapped like a container's. ``gaps``: what
    could not be had.
    """

    home: Path
    pid: int
    start: int
    view: Path
    uplink: uplink.Uplink
    host_addresses: tuple[str, ...]
    groups: tuple[cgroups.Hierarchy, ...]
    gaps: tuple[str, ...]

    @property
    def inside(self) -> Path:
        return self.view / "home"

    @property
    def netns(self) -> Path:
        """The folder for network namespaces of containers."""
        return self.view / "net"

    @property
    def userns(self) -> Path:
        return self.view / "user"

    @property
    def alive(self) -> bool:
        """Whether its pause process lives. Only for the outside: inside, that is process 1."""
        return folder.alive(self.pid, self.start)


def tag(home: Path) -> str:
    """What names of interfaces, tables and groups carry to tell homes apart."""
    return hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:8]


def up(home: Path) -> Node:
    """The node of ``home``, made now unless it is there. Raises ``ExecutionError`` where the host does not allow it."""
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        node = load(home)
        if node is not None and node.alive:
            return node
        _sweep(home, node)
        try:
            node = _make(home)
        except BaseException:
            _sweep(home, load(home))
            raise
        return node


def down(home: Path) -> None:
    """End everything inside the node of ``home`` and take away all that belonged to it. Fine when there is none."""
    home = home.absolute()
    if not paths.run(home).is_dir():
        return _sweep(home, None)
    with _locked(home):
        _sweep(home, load(home))
        _clear(home)
        for name in _LIVING:
            path = paths.run(home) / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def enter_argv(node: Node, argv: Sequence[str], *, network: bool = True) -> list[str]:
    """A command line that runs ``argv`` inside. It gets SIGTERM when the command's own process ends.

    ``network``: False leaves it in the machine's own network, from which ``outside.Outside`` goes on.
    """
    net = ["--net"] if network and node.uplink.kind != "none" else []
    try:
        where = Path.cwd()
    except FileNotFoundError:
        where = Path("/")
    return [
        "nsenter", "--target", str(node.pid), "--user", "--mount", "--ipc", "--pid", *net, "--preserve-credentials",
        f"--wd={where}", "--", "setpriv", "--pdeathsig", "TERM", "--", *argv,
    ]  # fmt: skip


def load(home: Path) -> Node | None:
    """The record that ``up`` wrote, or None. Inside and outside of the node."""
    try:
        data = json.loads(_record(home.absolute()).read_text())
        return Node(
            home=Path(data["home"]),
            pid=data["pid"],
            start=data["start"],
            view=Path(data["view"]),
            uplink=uplink.Uplink(**{**data["uplink"], "resolvers": tuple(data["uplink"]["resolvers"])}),
            host_addresses=tuple(data["host_addresses"]),
            groups=tuple(
                cgroups.Hierarchy(Path(root), frozenset(controllers), unified)
                for root, controllers, unified in data["groups"]
            ),
            gaps=tuple(data["gaps"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _make(home: Path) -> Node:
    root, gaps = os.geteuid() == 0, []
    take_group(home)
    networked = root or os.access(TUN, os.R_OK | os.W_OK)
    if not networked:
        gaps.append(f"containers have no network, and image builds use the host's: this user may not open {TUN}")
    pid = pause.create(home, map_ids=_map_ids(), network=networked)
    node = Node(home, pid, folder.start_time(pid), pause.view(home), uplink.shared(), (), (), ())
    _save_or_end(node)  # early: whatever fails from here on is found and taken away
    if networked:
        link = uplink.connect_root(tag(home), pid) if root else uplink.connect_user(pid, home / "log/slirp4netns.log")
        node = node._replace(uplink=link)
        _save(node)
        _renew_sources(node)
        if uplink.needs_resolv_conf():
            _cover_resolv_conf(node)
        if link.kind == "veth" and not uplink.named_resolvers():
            gaps.append("containers cannot resolve names: /etc/resolv.conf names no server with an IPv4 address")
    groups = tuple(cgroups.make(tag(home)))
    gaps += cgroups.gaps(groups)
    node = node._replace(groups=groups, host_addresses=tuple(uplink.host_addresses()), gaps=tuple(gaps))
    _save(node)
    return node


def take_group(home: Path) -> None:
    """Give the home this user's own group.

    It may have been made with another one, that of a shared folder around it; such a group is not known inside, and
    what has it can be given to no container there.
    """
    found = home.stat()
    if found.st_uid == os.geteuid() and found.st_gid != os.getegid():
        os.chown(home, -1, os.getegid())


def renew_sources(home: Path) -> None:
    """Let containers leave by the addresses that the machine has now. Raises ``ExecutionError``."""
    home = home.absolute()
    with _locked(home):
        node = load(home)
        if node is not None and node.alive:
            _renew_sources(node)


def _renew_sources(node: Node) -> None:
    enter = ["nsenter", "-t", str(node.pid), "-U", "-n", "--preserve-credentials"]
    sources.renew(node.home, tag(node.home), node.uplink, enter)


def _cover_resolv_conf(node: Node) -> None:
    """Programs inside, image builds among them, ask servers that can be reached from there."""
    file, lines = node.view / "resolv.conf", "".join(f"nameserver {name}\n" for name in node.uplink.resolvers)
    script = f"cat > {file} && mount --bind {file} /etc/resolv.conf"
    uplink.run(enter_argv(node, ["sh", "-c", script]), lines)


def _clear(home: Path) -> None:
    """Delete what killed containers have left. Their files belong to mapped users: a bare node is made to do it in."""
    kinds = [home / kind for kind in ("containers", "families") if (home / kind).is_dir()]
    names = [f"{kind.name}/{entry.name}" for kind in kinds for entry in kind.iterdir()]
    if not names:
        return
    pid = pause.create(home, map_ids=_map_ids(), network=False)
    bare = Node(home, pid, folder.start_time(pid), pause.view(home), uplink.shared(), (), (), ())
    _save_or_end(bare)
    try:
        folders = [str(bare.inside / name) for name in names]
        uplink.run(enter_argv(bare, ["rm", "-rf", "--one-file-system", "--", *folders]), "")
    finally:
        _end(bare)
        _record(home).unlink(missing_ok=True)


def _map_ids() -> Callable[[int], None]:
    return pause.write_maps if os.geteuid() == 0 else pause.write_maps_as_user


def _sweep(home: Path, node: Node | None) -> None:
    """Take away whatever of the node there is."""
    if node is not None and node.alive:
        _end(node)
    uplink.disconnect(tag(home), None if node is None else node.uplink)
    sources.forget(home)
    groups = cgroups.find(tag(home)) if node is None else list(node.groups) or cgroups.find(tag(home))
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            cgroups.unmake(groups)
            break
        except OSError as exc:
            if time.monotonic() > deadline:
                raise exception.ExecutionError(f"a control group is still in use: {exc}") from None
            time.sleep(0.02)
    _record(home).unlink(missing_ok=True)


def _end(node: Node) -> None:
    """Kill process 1; the kernel then kills all others inside and only after them lets it go."""
    descriptor = folder.open_pid(node.pid, node.start)
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        linux.readable(descriptor, 30)
    finally:
        os.close(descriptor)


def _save_or_end(node: Node) -> None:
    """Write the first record. A node that nobody could find again must not live (a full disk)."""
    try:
        _save(node)
    except BaseException:
        _end(node)
        raise


def _record(home: Path) -> Path:
    return paths.run(home) / "node.json"


def _save(node: Node) -> None:
    data = {
        **node._asdict(),
        "home": str(node.home),
        "view": str(node.view),
        "uplink": node.uplink._asdict(),
        "groups": [[str(tree.root), sorted(tree.controllers), tree.unified] for tree in node.groups],
    }
    draft = _record(node.home).with_suffix(".new")
    draft.write_text(json.dumps(data))
    draft.rename(_record(node.home))


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One ``up`` or ``down`` at a time."""
    run = paths.run(home)
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (run / "node.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """``up``, ``down`` and ``status`` as a command; what is there is printed as JSON."""
    parser = argparse.ArgumentParser(prog="python -m windlass.worker.node")
    parser.add_argument("action", choices=["up", "down", "status", "sources"])
    parser.add_argument("--home", type=Path, default=paths.home())
    options = parser.parse_args(arguments)
    try:
        if options.action == "down":
            down(options.home)
            return 0
        if options.action == "sources":
            renew_sources(options.home)
        node = up(options.home) if options.action == "up" else load(options.home)
    except exception.Error as exc:
        print(f"{exc}{' – ' + exc.hint if exc.hint else ''}", file=sys.stderr)
        return 1
    if node is None or not node.alive:
        print("down")
        return 1
    print(json.dumps({"pid": node.pid, "uplink": node.uplink.kind, "gaps": node.gaps}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
