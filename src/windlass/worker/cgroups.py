"""Limits: one control group per container, whatever version of control groups the machine has.

    <hierarchy>/windlass-<tag>/        made by ``node up``, taken away by ``node down``
        node/                          the worker and what it starts beside containers
        <container id>/                the limits of a container
            inner/                     version 2: its monitor, and it itself unless the runtime makes a group for it
            box/                       the group of the runtime, which in version 1 may have the container's name

``node up`` makes the first two below its own group where that was delegated (a service of systemd), else as root below
each hierarchy.
A container's monitor starts inside the container's group, so everything after it is born there. A controller that
cannot be had is a gap, said in words; the container then runs without that limit.
"""
from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass.kit import files

CONTROLLERS = ("cpu", "memory", "pids")
_COUNTING = "cpuacct"  # in version 1 who counts processor time may be another one than who limits it
_PERIOD = 100_000  # microseconds over which a CPU limit is kept
_SHARES = 1024  # of one CPU, in version 1
_NODE = "node"
INNER = "inner"
"""In version 2, where the processes of a container are. Were they in the group above, a runtime that makes its own
beside this one would have to make it a "threaded" one, whose processes systemd can neither list nor kill."""
_ENTER = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'


class Hierarchy(NamedTuple):
    """One tree of control groups, by its root: the whole mount, or the part that is ours."""

    root: Path
    controllers: frozenset[str]
    unified: bool


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """The trees that /proc/self/mountinfo names; the unified one's controllers are read from its root."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        root = Path(left.split(" ")[4])
        if kind == "cgroup2":
            found.append(Hierarchy(root, frozenset(_read(root / "cgroup.controllers").split()), True))
        elif kind == "cgroup":
            names = {option.rpartition("=")[2] for option in options.split(",")} - {"rw", "ro"}
            found.append(Hierarchy(root, frozenset(names), False))
    return found


def make(tag: str, *, trees: Iterable[Hierarchy] | None = None, own: str | None = None) -> list[Hierarchy]:
    """Make this home's group wherever that is allowed. For the outside of the node, as its owner.

    ``trees`` and ``own`` (as in /proc/self/cgroup) are the machine's unless a test says otherwise.
    """
    made = []
    own = _read(Path("/proc/self/cgroup")) if own is None else own
    for tree in hierarchies(_read(Path("/proc/self/mountinfo"))) if trees is None else trees:
        for place in _places(tree, tag, own):
            with contextlib.suppress(OSError):
                made.append(_make(place, tag))
                break
    return made


def _places(tree: Hierarchy, tag: str, own: str) -> list[Hierarchy]:
    """Where in a tree the home's group may go, the best first.

    The group we run in may have been delegated to us. For root it must be marked so, as systemd does: then limits of
    the service hold for its containers, and its end is theirs. In a login's group they would be where nobody expects.
    """
    inside = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    inside = inside.removesuffix(f"/{_leaf(tag)}")  # where an earlier ``make`` has put us
    if not tree.unified or inside in ("", "/"):
        return [tree]
    mine = tree._replace(root=tree.root / inside.lstrip("/"))
    return [mine, tree] if _delegated(mine.root) else [tree, mine]


def _delegated(group: Path) -> bool:
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(group, name) == b"1"
    return False


def find(tag: str) -> list[Hierarchy]:
    """What ``make`` left, when nobody remembers it."""
    own, trees = _read(Path("/proc/self/cgroup")), hierarchies(_read(Path("/proc/self/mountinfo")))
    places = [place for tree in trees for place in _places(tree, tag, own)]
    ours = [place._replace(root=place.root / f"windlass-{tag}") for place in places]
    return [tree for tree in ours if tree.root.is_dir()]


def unmake(ours: Iterable[Hierarchy]) -> None:
    """Take the groups of ``make`` away, with all below. Raises ``OSError`` while processes live in them."""
    for tree in ours:
        _remove(tree.root)


def gaps(ours: Iterable[Hierarchy]) -> list[str]:
    """What cannot be limited, in words."""
    held = {controller for tree in ours for controller in tree.controllers}
    words = {"cpu": "CPU time", "memory": "memory", "pids": "the number of processes"}
    return [
        f"{words[name]} of containers is not limited: no control group with {name!r} may be made here"
        for name in CONTROLLERS
        if name not in held
    ]


class Cgroup:
    """The groups of one container. ``limit``: bytes of memory it may use, or None where that is not limited."""

    def __init__(self, container_id: str, trees: Sequence[Hierarchy], *, others: Sequence[Hierarchy] = ()) -> None:
        self._settings: Mapping[str, Mapping[str, str]] = {}
        self._above, self._others = trees, others
        self._name(container_id)

    def _name(self, container_id: str) -> None:
        self.container_id = container_id
        self._trees = [tree._replace(root=tree.root / container_id) for tree in self._above]
        self.paths = [tree.root for tree in self._trees]

    def enter_argv(self, argv: Sequence[str]) -> list[str]:
        """A command line that moves itself into the groups and then becomes ``argv``."""
        if not self.paths:
            return list(argv)
        return ["sh", "-c", _ENTER, "sh", *map(str, self.lists), "--", *argv]

    @property
    def lists(self) -> list[Path]:
        """Files by which a process adds itself, with all its threads, by writing "0"."""
        return [_inner(tree) / "cgroup.procs" for tree in self._trees]

    @property
    def doors(self) -> list[Path]:
        """Files by which a process adds itself, by writing "0". In version 1 that makes nobody wait, whereas moving
        another process stops all forks of the machine until those that have begun are done."""
        return [_inner(tree) / ("cgroup.procs" if tree.unified else "tasks") for tree in self._trees]

    @property
    def limit(self) -> int | None:
        """Bytes of memory that all its processes may use together."""
        text = self._memory("memory.limit_in_bytes", "memory.max")
        return int(text) if text.isdigit() else None

    def used(self) -> int:
        """Bytes of memory that it uses now (0 where nobody counts)."""
        return int(self._memory("memory.usage_in_bytes", "memory.current") or 0)

    def peak(self) -> int:
        """The most bytes of memory that it used at once (0 where nobody counts)."""
        text = self._memory("memory.max_usage_in_bytes", "memory.peak") or self._memory("", "memory.current")
        return int(text or 0)

    def cpu_seconds(self) -> float | None:
        """Processor time of all its processes, living and dead; None where nobody counts."""
        for tree in self._trees:
            if tree.unified and (used := _fields(_read(tree.root / "cpu.stat")).get("usage_usec")) is not None:
                return used / 1e6
            if (text := _read(tree.root / "cpuacct.usage").strip()).isdigit():
                return int(text) / 1e9
        return None

    def oom(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory.

        To be asked before the runtime deletes the container: version 1 counts in the group nested by the runtime.
        """
        tree = self._tree("memory")
        if tree is None:
            return False
        name = "memory.events" if tree.unified else "memory.oom_control"
        counts = (_fields(_read(Path(folder) / name)).get("oom_kill", 0) for folder, _, _ in os.walk(tree.root))
        return any(counts)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Gives the question whether memory has run out inside since the block began.

        Unlike ``oom`` it may be asked when the runtime has taken its own nested group away already: version 1 counts
        there, but tells whoever listens at the group that has the limit.
        """
        tree = self._tree("memory")
        if tree is None or tree.unified:
            yield self.oom
            return
        bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with contextlib.suppress(OSError), (tree.root / "memory.oom_control").open() as control:
                _write(str(tree.root / "cgroup.event_control"), f"{bell} {control.fileno()}")
            yield lambda: _rang(bell)
        finally:
            os.close(bell)

    def kill(self) -> None:
        """Kill whatever is in the groups, as deep as they go."""
        for root in self.paths:
            for folder, _, _ in os.walk(root):
                for pid in _read(Path(folder) / "cgroup.procs").split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Take the groups away; False while a process still lives in one (``Cgroups`` tries again later)."""
        try:
            # In trees that limit nothing there is only what the runtime makes: at ``oci_path``, or below where it runs.
            nested = [tree.root / part / self.container_id for tree in self._others for part in ("", _NODE)]
            for path in (*self.paths, *nested):
                _remove(path)
        except OSError:
            return False
        return True

    def _tree(self, controller: str) -> Hierarchy | None:
        return next((tree for tree in self._trees if controller in tree.controllers), None)

    def _memory(self, old: str, new: str) -> str:
        tree = self._tree("memory")
        name = "" if tree is None else new if tree.unified else old
        return _read(tree.root / name).strip() if tree is not None and name else ""

    def apply(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Make the groups and write what ``settings`` gives for them."""
        self._settings = settings
        for tree in self._trees:
            _apply(tree, settings)

    def rename(self, container_id: str) -> None:
        """Become the groups of another container, with all that lives in them. Raises ``OSError``.

        That is much faster than to move processes, for which the kernel waits for all processors. Version 2 knows no
        new names, so there they move.
        """
        before = self._trees
        self._name(container_id)
        for old, new in zip(before, self._trees, strict=True):
            if not new.unified:
                os.rename(old.root, new.root)  # noqa: PTH104
                continue
            _apply(new, self._settings)
            for pid in _read(_inner(old) / "cgroup.procs").split():
                with contextlib.suppress(ProcessLookupError):
                    (_inner(new) / "cgroup.procs").write_text(pid)
            _remove(old.root)


class Cgroups:
    """All containers' groups below what ``make`` made. Lives inside the node."""

    def __init__(self, ours: Sequence[Hierarchy]) -> None:
        self._ours = ours
        self._limiting = [tree for tree in ours if tree.controllers & {*CONTROLLERS, _COUNTING}]
        self._others = [tree for tree in ours if tree not in self._limiting]
        self._leftover: list[Cgroup] = []
        self._prefix = prefix(ours, hierarchies(_read(Path("/proc/self/mountinfo"))))
        self.gaps = gaps(ours)

    def join(self) -> None:
        """Move this process into the node's own group, so that nothing it starts lies outside of ours."""
        for tree in self._ours:
            with contextlib.suppress(OSError):
                (tree.root / _NODE / "cgroup.procs").write_text("0")

    def oci_path(self, container_id: str) -> str:
        """The group that the runtime shall make within the container's (``linux.cgroupsPath``).

        "" where we have no say in some tree: then the runtime decides, and may choose the root of that tree.
        """
        return f"{self._prefix}/{container_id}/box" if self._prefix else ""

    def create(
        self, container_id: str, *, cpu_request: float, cpu_limit: float | None, memory_limit: int, pids_limit: int
    ) -> Cgroup:
        """Make the container's groups. CPUs in cores, memory in bytes."""
        self._again()
        group = Cgroup(container_id, self._limiting, others=self._others)
        group.apply(settings(cpu_request=cpu_request, cpu_limit=cpu_limit, memory_limit=memory_limit, pids=pids_limit))
        return group

    def find(self, container_id: str) -> Cgroup:
        """The groups that an earlier worker made for a living container."""
        mine = [tree for tree in self._limiting if (tree.root / container_id).is_dir()]
        return Cgroup(container_id, mine, others=self._others)

    def remove(self, group: Cgroup) -> None:
        """Take ``group`` away now, or as soon as its last process is gone."""
        if not group.remove():
            self._leftover.append(group)

    def retain(self, living: Iterable[str]) -> None:
        """Take away the groups of all containers but ``living``: what an earlier worker could not."""
        keep = {_NODE, *living}
        for tree in self._ours:
            for entry in (*tree.root.iterdir(), *(tree.root / _NODE).iterdir()):
                if entry.is_dir() and entry.name not in keep:
                    with contextlib.suppress(OSError):
                        _remove(entry)

    def _again(self) -> None:
        self._leftover = [group for group in self._leftover if not group.remove()]


def prefix(ours: Iterable[Hierarchy], trees: Sequence[Hierarchy]) -> str:
    """Our group as a path below the roots of the machine's trees; "" unless it is in all of them, and at one place."""
    paths = [
        f"/{mine.root.relative_to(tree.root)}" for mine in ours for tree in trees if mine.root.is_relative_to(tree.root)
    ]
    return paths[0] if len(paths) == len(trees) and len(set(paths)) == 1 else ""


def settings(
    *, cpu_request: float, cpu_limit: float | None, memory_limit: int, pids: int
) -> dict[str, dict[str, str]]:
    """The files to write, by version. Their order matters: memory before memory with swap."""
    quota = -1 if cpu_limit is None else max(int(cpu_limit * _PERIOD), 1000)
    shares = max(int(cpu_request * _SHARES), 2)
    weight = min(max(int(cpu_request * 100), 1), 10_000)
    return {
        "legacy": {
            "cpu.shares": str(shares),
            "cpu.cfs_period_us": str(_PERIOD),
            "cpu.cfs_quota_us": str(quota),
            "memory.limit_in_bytes": str(memory_limit),
            "memory.memsw.limit_in_bytes": str(memory_limit),
            "pids.max": str(pids),
        },
        "unified": {
            "cpu.weight": str(weight),
            "cpu.max": f"{'max' if quota < 0 else quota} {_PERIOD}",
            "memory.max": str(memory_limit),
            "memory.swap.max": "0",
            "pids.max": str(pids),
        },
    }


def _make(tree: Hierarchy, tag: str) -> Hierarchy:
    """This home's group in one tree, with the controllers that its children will really have."""
    ours = tree.root / f"windlass-{tag}"
    if tree.unified:
        _hand_on(tree.root, tree.controllers, leaf=_leaf(tag))
    ours.mkdir(exist_ok=True)
    _inherit_cpuset(ours)
    if tree.unified:
        _hand_on(ours, tree.controllers, leaf=_NODE)
    (ours / _NODE).mkdir(exist_ok=True)
    _inherit_cpuset(ours / _NODE)
    if not os.access(ours / "cgroup.procs", os.W_OK):
        raise PermissionError(f"{ours} is not ours")
    having = frozenset(_read(ours / "cgroup.subtree_control").split()) if tree.unified else tree.controllers
    return tree._replace(root=ours, controllers=having)


def _leaf(tag: str) -> str:
    """For processes of a delegated group that hands controllers on."""
    return f"windlass-{tag}-programs"


def _hand_on(group: Path, controllers: Iterable[str], *, leaf: str) -> None:
    """Give the children of a unified group the controllers. But for the machine's root, the kernel wants such a group
    to hold no process itself (the group of a container or of a delegated scope does): they move into a leaf."""
    missing = set(CONTROLLERS) & set(controllers) - set(_read(group / "cgroup.subtree_control").split())
    processes = _read(group / "cgroup.procs").split() if missing and (group / "cgroup.type").exists() else []
    if processes:
        (group / leaf).mkdir(exist_ok=True)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            (group / leaf / "cgroup.procs").write_text(pid)
    for controller in missing:  # one by one: one that is refused spoils the others
        with contextlib.suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(group: Path) -> None:
    """Version 1 wants CPUs and memory nodes to be named before a process may enter a new group."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not _read(file).strip():
            _write(str(file), _read(group.parent / name))


def _inner(tree: Hierarchy) -> Path:
    """Where in the group of a container its processes are."""
    return tree.root / INNER if tree.unified else tree.root


def _apply(tree: Hierarchy, settings: Mapping[str, Mapping[str, str]]) -> None:
    root = str(tree.root)
    for folder in dict.fromkeys((root, str(_inner(tree)))):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102
    if "cpuset" in tree.controllers:
        _inherit_cpuset(tree.root)
    for name, value in settings["unified" if tree.unified else "legacy"].items():
        if name.split(".")[0] in tree.controllers:
            _write(f"{root}/{name}", value)


def _remove(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            Path(folder).rmdir()


def _write(file: str, value: str) -> None:
    """Write where the kernel has that file: swap accounting and some limits are options of the kernel."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        files.write(file, value.encode())


def _rang(bell: int) -> bool:
    try:
        return os.eventfd_read(bell) > 0
    except BlockingIOError:
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _fields(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
