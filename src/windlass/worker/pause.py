"""The process that holds the node namespace: it is made, sets up its mounts, and sleeps as process 1.

    up ── fork ──► unshare user, mount, pid, ipc (, network) ── fork ──► process 1: mounts ── exec sleep
     └─ writes the maps of ids ──────┘                                    (reaps by ignoring SIGCHLD)

The mounts are the node's own: its /proc, and a small tree at ``view`` through which every user inside reaches the home
folder, though a folder above it may be closed to them:

    <view>/home      the home folder
    <view>/net/      network namespaces of containers
    <view>/user      a user namespace mapped like a container's (for ``userns.py``)
"""
from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from windlass import exception
from windlass.worker import linux

CONTAINER_IDS = 65535  # inside 1..65535 are a container's 0..65534
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
"""What runtimes hand to containers. Read-only inside, which does not stop writing to a device, so that nothing in the
node (crun gives its standard streams to the container's root) can change whose they are: they are the machine's."""
_PLACES = ("/boot", "/media", "/mnt")  # folders that nothing inside needs; the first fitting one is covered
_START = 30.0  # seconds


def view(home: Path) -> Path:
    """Where inside the node its own small tree is."""
    for place in map(Path, _PLACES):
        if place.is_dir() and not home.is_relative_to(place):
            return place
    raise exception.ExecutionError(f"none of {', '.join(_PLACES)} exists to be covered inside the node")


def create(home: Path, *, map_ids: Callable[[int], None], network: bool) -> int:
    """Start a pause process and return its pid once it holds everything. ``map_ids`` writes the maps of a pid."""
    flags = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWIPC | (linux.NEWNET if network else 0)
    place = view(home)
    said, say = os.pipe()
    heard, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        os.close(tell)
        _middle(home, place, flags, say=say, heard=heard)
    os.close(say)
    os.close(heard)
    try:
        _expect(said)
        map_ids(child)
        os.write(tell, b"mapped\n")
        pid = int(_expect(said))
        _expect(said, end=True)
    finally:
        os.close(said)
        os.close(tell)
        os.waitpid(child, 0)
    return pid


def _expect(said: int, *, end: bool = False) -> str:
    """The next word of the children. The pipe ends when process 1 has become ``sleep``; "!" starts a complaint."""
    if not linux.readable(said, _START):
        raise exception.ExecutionError("the node namespace was not there in time")
    text = os.read(said, 4096).decode()
    _, complaint, reason = text.partition("!")
    if complaint or bool(text) == end:
        raise exception.ExecutionError(
            f"the node namespace could not be made: {reason.strip() or 'no reason given'}",
            hint="User namespaces are off, or used up: see windlass doctor." if "unshare" in reason else "",
        )
    return text


def _middle(home: Path, place: Path, flags: int, *, say: int, heard: int) -> NoReturn:
    """The first child: owner of the new namespaces, parent of process 1."""
    try:
        os.setsid()
        linux.unshare(flags)
        os.write(say, b"unshared\n")
        if not os.read(heard, 100):
            os._exit(1)
        pid = os.fork()
        if pid == 0:
            _hold(home, place, say=say)
        os.write(say, f"{pid}\n".encode())
    except OSError as exc:
        os.write(say, f"! {exc}".encode())
    os._exit(0)


def _hold(home: Path, place: Path, *, say: int) -> NoReturn:
    """Process 1: mounts, then sleeps for ever in a program of half a megabyte."""
    try:
        os.chdir("/")
        _mounts(home, place)
        _mapped(place / "user")
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        # Ignored (this survives exec), so that the kernel reaps the orphans that end up here.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        _close_others(keep=say)  # which exec closes: its end tells that this has worked
        os.execvp("sleep", [f"windlass-node:{home}", "infinity"])
    except OSError as exc:
        os.write(say, f"! {exc}".encode())
    os._exit(1)


def _mounts(home: Path, place: Path) -> None:
    # Slave: what the host mounts and unmounts later is followed, what is mounted inside stays inside.
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    linux.mount("proc", "/proc", kind="proc", flags=linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for name in _DEVICES:
        linux.bind_read_only(Path("/dev") / name)
    # Opened before its path may be covered.
    source = os.open(home, os.O_PATH | os.O_DIRECTORY)
    linux.mount("windlass", place, kind="tmpfs", flags=linux.MS_NOSUID | linux.MS_NODEV, data="mode=755,size=64m")
    (place / "home").mkdir()
    (place / "net").mkdir()
    linux.bind(f"/proc/self/fd/{source}", place / "home", recursive=True)
    os.close(source)


def _mapped(file: Path) -> None:
    """Keep a user namespace in ``file`` whose ids are those of a container."""
    file.touch()
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        linux.unshare(linux.NEWUSER)
        os.write(say, b"unshared")
        signal.pause()
    os.close(say)
    try:
        if not os.read(said, 100):
            raise OSError("no user namespace within the node's")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text(f"0 1 {CONTAINER_IDS}\n")
        linux.bind(f"/proc/{child}/ns/user", file)
    finally:
        os.close(said)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _close_others(*, keep: int) -> None:
    os.closerange(3, keep)
    os.closerange(keep + 1, 65536)


def write_maps(pid: int) -> None:
    """As root: the owner, then the highest 65536 of the ids that Windlass uses, or of those there are."""
    for name in ("uid_map", "gid_map"):
        start = _free_ids(Path(f"/proc/self/{name}").read_text())
        Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n1 {start} {CONTAINER_IDS + 1}\n")


def _free_ids(own_map: str, wanted: int = 1_900_000_000) -> int:
    """Where 65536 ids begin that nobody else uses: ``wanted`` unless this machine is itself mapped more narrowly."""
    best = 0
    for line in own_map.splitlines():
        inside, _, length = map(int, line.split())
        if inside <= wanted and wanted + CONTAINER_IDS + 1 <= inside + length:
            return wanted
        if length > 2 * CONTAINER_IDS:
            best = max(best, inside + length - CONTAINER_IDS - 1)
    if not best:
        raise exception.ExecutionError(
            "this root has too few user ids for containers", hint="give the surrounding container 131072 ids or more"
        )
    return best


def write_maps_as_user(pid: int) -> None:
    """As an ordinary user: the owner, then the subordinate ids of /etc/subuid and /etc/subgid."""
    for program, own, file in (("newuidmap", os.getuid(), "subuid"), ("newgidmap", os.getgid(), "subgid")):
        start = subordinate(Path(f"/etc/{file}").read_text() if Path(f"/etc/{file}").exists() else "", names())
        if start is None:
            raise exception.ExecutionError(
                f"/etc/{file} gives this user no {CONTAINER_IDS + 1} ids",
                hint=f"as root: usermod --add-{file}s 100000-165535 {names()[0]}",
            )
        count = str(CONTAINER_IDS + 1)
        done = subprocess.run(
            [program, str(pid), "0", str(own), "1", "1", str(start), count], capture_output=True, text=True
        )
        if done.returncode:
            raise exception.ExecutionError(f"{program} failed: {done.stderr.strip()}")


def subordinate(text: str, names: list[str]) -> int | None:
    """The start of the first range of a subuid file that belongs to one of ``names`` and is long enough."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if name in names and count.strip().isdigit() and int(count) > CONTAINER_IDS:
            return int(start)
    return None


def names() -> list[str]:
    """How files like /etc/subuid may call this user."""
    import pwd  # only here: not every machine's user has an entry

    number = os.getuid()
    try:
        return [pwd.getpwuid(number).pw_name, str(number)]
    except KeyError:
        return [str(number)]

