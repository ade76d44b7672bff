"""From a copy of the starter to a command in a sandbox, as a list of system calls that is made before the copy.

Each page that Python touches in a new process is copied first, and that was most of what a command cost; so the process
makes calls that are ready (``snapshots.mounting``), and is no fork of Python's, which would prepare it for more than it
does. x86-64 only.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypedDict

from windlass.worker import linux, spec
from windlass.worker.snapshots import mounting

_WRITE, _SIGACTION, _IOCTL, _DUP2, _CLONE, _EXECVE, _CHDIR, _UMASK, _SETSID, _SETGROUPS, _SETRESUID, _SETRESGID = (
    1, 13, 16, 33, 56, 59, 80, 95, 112, 116, 117, 119,
)  # fmt: skip
_CAPSET, _PRCTL, _SETRLIMIT, _SETHOSTNAME, _SETNS, _CLOSE_RANGE = 126, 157, 160, 170, 308, 436
_DROP, _NO_NEW_PRIVILEGES, _CAP_VERSION, _SET_SECCOMP, _FILTER = 24, 38, 0x20080522, 22, 2
_INTO = linux.NEWUSER | linux.NEWNS | linux.NEWIPC | linux.NEWUTS | linux.NEWNET
_OPEN_FILES, _MOST, _NO_SUCH, _INSTRUCTION = 65536, 65535, 127, 8
_DEFAULTS = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP)
_CAPABILITIES = sum(1 << linux.CAPABILITIES[name] for name in spec.CAPABILITIES)
_UNLOCK, _GET_PEER = 0x40045431, 0x5441
ROWS, COLS = 24, 80  # of a terminal of which nobody has said how large it is
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Inside(TypedDict, total=False):
    """A command and where it runs. ``first``: process 1 of the sandbox. ``doors``: of its control groups.

    ``bare``: it is a program of the node's that makes walls of its own, and keeps what its user namespace grants.
    ``hostname``, ``log``, ``stdin`` (a pipe with a name): of the sandbox's own command alone. ``pty``: the descriptor
    that came along is a terminal, for all its ends.
    """

    first: int
    doors: list[str]
    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    hostname: str
    log: str
    stdin: str
    pty: bool
    workdir: str
    bare: bool


def terminal(first: int) -> tuple[int, int]:
    """A new terminal of the sandbox whose process 1 is ``first``: our end of it, and the other one."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open(f"/proc/{first}/root/dev/pts/ptmx", flags)
    try:
        fcntl.ioctl(master, _UNLOCK, struct.pack("i", 0))
        return master, fcntl.ioctl(master, _GET_PEER, flags)
    except OSError:
        os.close(master)
        raise


class Becoming:
    """What a new process does: ``calls``, then the first of ``programs`` that can be run."""

    def __init__(
        self, calls: Sequence[mounting.Ready], programs: Sequence[mounting.Ready], heard: int, kept: Sequence[object]
    ) -> None:
        self._calls = calls
        self._programs = programs
        self._heard = heard
        self._kept = kept  # memory that the calls point to

    def fork(self) -> int:
        """The pid of the process. It says on ``heard`` why it did not become the command, or closes it."""
        child = int(mounting._syscall(ctypes.c_long(_CLONE), ctypes.c_long(signal.SIGCHLD), None, None, None, None))
        if child == 0:
            self._become()
        if child < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return child

    def _become(self) -> NoReturn:
        try:
            file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(file, b"500")
            for what, function, arguments, _ in self._calls:
                if function(*arguments) < 0:
                    self._fail(what, ctypes.get_errno())
            code, saved = 0, 0
            for _, function, arguments, _ in self._programs:
                function(*arguments)
                code = ctypes.get_errno()
                if code not in _ABSENT:
                    saved = saved or code
            self._fail(self._programs[0][0], saved or code)
        except BaseException as exc:  # noqa: BLE001 - the end of a process: it must not run on here
            os.write(self._heard, f"0 {type(exc).__name__}: {exc}".encode())
        finally:
            os._exit(_NO_SUCH)

    def _fail(self, what: str, code: int) -> NoReturn:
        os.write(self._heard, f"{code} {what}: {os.strerror(code)}".encode())
        os._exit(_NO_SUCH)


def prepare(
    inside: Inside, ends: Sequence[int], home: int, doors: Sequence[int], heard: int, program: bytes,
    reducing: Sequence[mounting.Ready],
) -> Becoming:  # fmt: skip
    """``home``: a descriptor of process 1 of the sandbox. ``ends``: what becomes 0, 1 and 2; none of them is one of
    these already, for the starter has its own. ``program``: the filter of system calls, ``reducing``: see there."""
    first = [call.ready() for call in _arrival(inside, ends, home, doors, heard)]
    second = [call.ready() for call in _identity(inside)]
    third = [call.ready() for call in _manners(inside)]
    kept: list[object] = []
    if program:
        code = ctypes.create_string_buffer(program, len(program))
        filled = struct.pack("=H6xQ", len(program) // _INSTRUCTION, ctypes.addressof(code))
        kept.append(code)
        third.append(mounting.Call("its filter of system calls", _PRCTL, (_SET_SECCOMP, _FILTER, filled, 0, 0)).ready())
    argv, env = _words(inside["argv"]), _words([f"{name}={value}" for name, value in inside["env"].items()])
    kept += [argv, env]
    name = inside["argv"][0]
    runs = [
        mounting.Call(name, _EXECVE, (path, address(argv), address(env))).ready()
        for path in _places(name, inside["env"])
    ]
    who = mounting.Call("its user", _SETRESUID, (inside.get("uid", 0),) * 3).ready()
    return Becoming([*first, *second, *reducing, who, *third], runs, heard, kept)


def _arrival(
    inside: Inside, ends: Sequence[int], home: int, doors: Sequence[int], heard: int
) -> Iterator[mounting.Call]:
    """Into control groups and namespaces; nothing of ours goes along, whatever it was."""
    yield mounting.Call("its session", _SETSID, ())
    for door in doors:
        yield mounting.Call("its control group", _WRITE, (door, b"0", 1))
    yield mounting.Call("its namespaces", _SETNS, (home, _INTO))
    if inside.get("pty"):
        yield mounting.Call("its terminal", _IOCTL, (ends[0], termios.TIOCSCTTY, 0))
    for number in range(3):
        yield mounting.Call("its streams", _DUP2, (ends[0] if inside.get("pty") else ends[number], number))
    if heard > 3:
        yield mounting.Call("its descriptors", _CLOSE_RANGE, (3, heard - 1, 0))
    yield mounting.Call("its descriptors", _CLOSE_RANGE, (heard + 1, _MOST, 0))
    if name := inside.get("hostname", "").encode():
        yield mounting.Call("its name", _SETHOSTNAME, (name, len(name)))


def _identity(inside: Inside) -> Iterator[mounting.Call]:
    groups = inside.get("groups", [])
    yield mounting.Call("its groups", _SETGROUPS, (len(groups), struct.pack(f"={len(groups)}I", *groups)))
    yield mounting.Call("its group", _SETRESGID, (inside.get("gid", 0),) * 3)


def _manners(inside: Inside) -> Iterator[mounting.Call]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = most if inside.get("bare") else min(_OPEN_FILES, most)  # programs that open files for a whole sandbox
    yield mounting.Call("its limits", _SETRLIMIT, (resource.RLIMIT_NOFILE, struct.pack("=QQ", limit, limit)))
    yield mounting.Call("its mask", _UMASK, (0o022,))
    for number in _DEFAULTS:
        yield mounting.Call("its signals", _SIGACTION, (int(number), bytes(32), None, 8))
    yield mounting.Call(f"its folder {inside['cwd']}", _CHDIR, (inside["cwd"],))


def _words(words: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(words) + 1))(*(os.fsencode(word) for word in words), None)


def resize(terminal: int, rows: int, cols: int) -> None:
    """Give a terminal another size; whoever uses it is told."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def address(words: ctypes.Array[ctypes.c_char_p]) -> int:
    """Where they are in memory, which they keep as long as they live."""
    return ctypes.addressof(words)


def _places(name: str, env: dict[str, str]) -> list[str]:
    """Where a program may be, as ``os.execvp`` looks for it."""
    if "/" in name:
        return [name]
    return [f"{folder}/{name}" if folder else name for folder in env.get("PATH", os.defpath).split(":")]


def reducing() -> list[mounting.Ready]:
    """The calls that leave a process what containers may do."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    low, high = _CAPABILITIES & 0xFFFFFFFF, _CAPABILITIES >> 32
    header, sets = struct.pack("=Ii", _CAP_VERSION, 0), struct.pack("=6I", low, low, 0, high, high, 0)
    drops = [number for number in range(last + 1) if not _CAPABILITIES >> number & 1]
    calls = [
        *(mounting.Call(f"drop of capability {number}", _PRCTL, (_DROP, number, 0, 0, 0)) for number in drops),
        mounting.Call("capset", _CAPSET, (header, sets)),
        mounting.Call("no new privileges", _PRCTL, (_NO_NEW_PRIVILEGES, 1, 0, 0, 0)),
    ]
    return [call.ready() for call in calls]
