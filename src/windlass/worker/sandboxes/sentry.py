"""What runsc is told of a sandbox: its cell, its document, its commands. Pure, but for the search for the program.

    cell: namespaces of the sandbox over a root of ours      /rootfs  its files and volumes, /bundle  what runsc keeps
      └─ runsc run ── sentry (the kernel that commands see) ── gofer (opens files below /rootfs)
"""
from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from windlass.worker import spec
from windlass.worker.sandboxes import box, entering
from windlass.worker.snapshots import cell

LEVEL = "gvisor"
ROOT = "/rootfs"
MEMORY = "checkpoint"
"""The folder of a memory image, seen from inside as well."""
BUNDLE, PROGRAM = "/bundle", "/runsc"
VISITED = "169.254.77.2"
"""Where its ports are reached from its network namespace, whose loopback is not that of the sentry: a pair of links, of
which the sentry takes one when it begins. The other gets its address only then, else it would be taken too."""
PAIR = f"link add inward type veth peer name outward\naddr add {VISITED}/30 dev inward\nlink set inward up\n"
OUTWARD = "addr add 169.254.77.1/30 dev outward\nlink set outward up\n"
_FOLDERS = ("proc", "dev", "sys", "tmp", "rootfs", "bundle", MEMORY)
_KERNELS_OWN = ("/proc", "/dev", "/dev/pts", "/dev/shm")
_TIME = 4.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DATE = re.compile(r"release-(\d{8})|0\.0~(\d{8})|version (\d{8})")
_ROOTS_OWN = "/proc/sys/net/core"  # where runsc takes it to be there, it believes itself in the machine's own network


class Runsc(NamedTuple):
    """The program that is installed. ``date``: of its release, "" where it does not say."""

    binary: Path
    platform: str
    date: str


def installed() -> Path | None:
    """Where the program is; None where it is not installed."""
    found = shutil.which("runsc", path=_PATH)
    return None if found is None else Path(found)


def find() -> Runsc | None:
    """What is installed; None where nothing is, or what is there does not run."""
    found = installed()
    if found is None:
        return None
    asked = functools.partial(
        subprocess.run, env={"PATH": _PATH}, capture_output=True, text=True, timeout=_TIME, check=False
    )
    try:
        said = [asked([found, word]) for word in ("--version", "flags")]
    except (OSError, subprocess.TimeoutExpired):
        return None
    dated = _DATE.search(said[0].stdout)
    platform = "systrap" if "systrap" in said[1].stdout + said[1].stderr else "ptrace"
    return Runsc(found, platform, next(filter(None, dated.groups()), "") if dated else "")


def stub(home: Path) -> Path:
    """The root of cells: folders that are covered, and the place of runsc. Nobody inside may write there."""
    root = home / "lib" / LEVEL
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / PROGRAM[1:]).touch()
    for path in (root, *root.iterdir()):
        path.chmod(0o755)
    return root


def plan(walls: spec.Box, runsc: Runsc, root: Path, bundle: Path, memory: Path | None) -> cell.Plan:
    """The cell of a sandbox. ``memory``: the folder of the memory that it goes on with."""
    own = [mount for mount in spec.mounts(walls) if mount["destination"] in ("/proc", "/dev", "/dev/pts")]
    scratch = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
    binds = [
        spec.Bind(runsc.binary.resolve(), PROGRAM), spec.Bind(bundle, BUNDLE, writable=True),
        spec.Bind(walls.rootfs, ROOT, writable=True),
        *([spec.Bind(memory, f"/{MEMORY}")] if memory else []), *box.covers(root, ROOT),
        *(bind._replace(target=ROOT + bind.target) for bind in walls.binds),
    ]  # fmt: skip
    return {
        "name": walls.name, "rootfs": str(root), "mounts": [*own, scratch, *map(spec._bind, binds)],
        "masked": [_ROOTS_OWN], "read_only": [],
    }  # fmt: skip


def document(walls: spec.Box, command: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle's ``config.json``. Paths are the cell's."""
    own = [mount for mount in spec.mounts(walls) if mount["destination"] in _KERNELS_OWN]
    shared = [bind for bind in walls.binds]
    if (walls.rootfs / "tmp").is_dir():
        shared.append(spec.Bind(Path("/tmp"), "/tmp", writable=True))  # else the sentry has its own
    binds = [spec._bind(bind._replace(source=Path(ROOT + bind.target))) for bind in shared]
    for bind in binds:
        bind["type"] = "bind"
    kinds: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    return {
        "ociVersion": "1.0.2", "process": dict(command), "root": {"path": ROOT, "readonly": False},
        "hostname": walls.name[:63],
        "mounts": [*own, {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}, *binds],
        "linux": {"namespaces": [*kinds, {"type": "network", "path": "/proc/self/ns/net"}]},
    }  # fmt: skip


def process(inside: entering.Inside, open_files: int) -> dict[str, Any]:
    """A command in the words of the document."""
    walls = spec.Box(
        name="", argv=inside["argv"], env=inside["env"], cwd=inside["cwd"], rootfs=Path(ROOT), binds=(), memory=0,
        open_files=open_files, seccomp=None, uid=inside["uid"], gid=inside["gid"], groups=inside["groups"],
    )  # fmt: skip
    words = spec._process(walls)
    del words["oomScoreAdj"]  # the starter has seen to it
    return {**words, "terminal": bool(inside.get("pty"))}
