"""The first process of a virtual machine: shows the sandbox's files, starts commands in them, buries the dead.

It runs from the memory that the kernel began with, on the worker's own Python, so images need none. What it is asked
for comes by the line (``frames``). When it ends, so does the machine.
"""
from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import termios
import time

from windlass.worker.sandboxes.vm import frames, ground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_libc = ctypes.CDLL(None, use_errno=True)
_HELD, _DROP, _NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER, _INSTRUCTION = 23, 24, 38, 22, 2, 8
_PORT = "/dev/vport0p1"
_PORT_TIME, _GRACE, _CONNECT_TIME = 20.0, 2.0, 5.0


def _port() -> int:
    end = time.monotonic() + _PORT_TIME
    while True:
        try:
            return os.open(_PORT, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


class Guest:
    """Everything between the line and the commands."""

    def __init__(self, port: int) -> None:
        self._line = frames.Line(port, self._said)
        self._pids: dict[int, int] = {}
        """Channels of the commands that run."""
        self._terminals: dict[int, int] = {}
        self._late: list[tuple[float, Callable[[], None]]] = []
        self._begun: dict[str, Any] = {}
        dead, self._dying = os.pipe()
        os.set_blocking(dead, False)
        os.set_blocking(self._dying, False)
        for end in (dead, self._dying):
            os.set_inheritable(end, False)
        signal.set_wakeup_fd(self._dying, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would end us; what has none cannot
        self._line.selector.register(dead, 1, lambda _: self._bury(dead))

    def run(self) -> NoReturn:
        self._line.say(0, op="here")
        while True:
            now = time.monotonic()
            for late in [one for one in self._late if one[0] <= now]:
                self._late.remove(late)
                late[1]()
            self._line.turn(max(0.0, min(one[0] for one in self._late) - now) if self._late else None)

    def _said(self, channel: int, message: dict[str, Any]) -> None:
        try:
            getattr(self, f"_on_{message['op']}")(channel, message)
        except OSError as exc:
            self._line.say(channel, op="failed", text=exc.strerror or str(exc), errno=exc.errno or 0)

    def _on_begin(self, channel: int, message: dict[str, Any]) -> None:
        self._begun = message
        time.clock_settime(time.CLOCK_REALTIME, message["time"])
        ground.furnish(message)
        ground.connect(message)
        self._line.say(0, op="ready")

    # -- commands --------------------------------------------------------------------------------------------

    def _on_start(self, channel: int, message: dict[str, Any]) -> None:
        ours: list[tuple[int, int]] = []
        theirs: list[int] = []
        if message.get("pty"):
            master, slave = os.openpty()
            size = struct.pack("HHHH", message["rows"], message["cols"], 0, 0)
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
            ours, theirs = [(frames.IN, master), (frames.OUT, os.dup(master))], [slave] * 3
        else:
            for stream in (frames.IN, frames.OUT, frames.ERR):
                reading, writing = os.pipe()
                mine, its = (writing, reading) if stream == frames.IN else (reading, writing)
                ours.append((stream, mine))
                theirs.append(its)
        try:
            pid = self._fork(message, theirs)
        except OSError:
            for _, descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in set(theirs):
                os.close(descriptor)
        self._pids[pid] = channel
        if message.get("pty"):
            self._terminals[channel] = os.dup(ours[0][1])
        self._line.say(channel, op="begun", pid=pid)
        self._line.sink(channel, frames.IN, ours[0][1])
        for stream, descriptor in ours[1:]:
            self._line.source(channel, stream, descriptor)

    def _fork(self, message: dict[str, Any], theirs: list[int]) -> int:
        """The pid of a command. Raises ``OSError`` where it did not become one."""
        heard, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become(message, theirs, say)
        os.close(say)
        trouble = b""
        while more := os.read(heard, 4096):
            trouble += more
        os.close(heard)
        if trouble:
            os.waitpid(pid, 0)
            number, _, text = trouble.decode(errors="replace").partition(" ")
            raise OSError(int(number), text)
        return pid

    def _become(self, message: dict[str, Any], theirs: list[int], say: int) -> NoReturn:
        what = "its walls"
        try:
            os.setsid()
            if message.get("pty"):
                fcntl.ioctl(theirs[0], termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(theirs[number], number)
            os.set_inheritable(say, False)
            signal.set_wakeup_fd(-1)
            for number in range(1, signal.NSIG):
                if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                    signal.signal(number, signal.SIG_DFL)
            os.umask(0o022)
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._begun["files"],) * 2)
            _reduce(self._begun, message)
            what = f"its folder {message['cwd']}"
            os.chdir(message["cwd"])
            what = message["argv"][0]
            _run(message["argv"], message["env"])
        except OSError as exc:
            os.write(say, f"{exc.errno or 0} {what}: {exc.strerror}".encode(errors="replace"))
        except BaseException as exc:  # noqa: BLE001 - the end of a process: it must not run on here
            os.write(say, f"0 {what}: {type(exc).__name__}: {exc}".encode(errors="replace"))
        finally:
            os._exit(127)

    def _on_kill(self, channel: int, message: dict[str, Any]) -> None:
        for pid in [pid for pid, its in self._pids.items() if its == channel]:
            for kill in (os.killpg, os.kill):
                try:
                    kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue

    def _on_resize(self, channel: int, message: dict[str, Any]) -> None:
        if (master := self._terminals.get(channel)) is not None:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", message["rows"], message["cols"], 0, 0))

    def _on_sync(self, channel: int, message: dict[str, Any]) -> None:
        os.sync()
        self._line.say(channel, op="begun", pid=0)

    def _bury(self, dead: int) -> None:
        try:
            os.read(dead, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if (channel := self._pids.pop(pid, None)) is not None:
                self._ended(channel, os.waitstatus_to_exitcode(status))

    def _ended(self, channel: int, code: int) -> None:
        """Tell of it when its output has been sent, which others may hold open."""
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                if (terminal := self._terminals.pop(channel, None)) is not None:
                    os.close(terminal)
                hungry = code == -signal.SIGKILL and _killed_for_memory()
                self._line.say(channel, op="exit", code=code if code >= 0 else 128 - code, oom=hungry)

        self._late.append((time.monotonic() + _GRACE, tell))
        self._line.drained(channel, (frames.OUT, frames.ERR), tell)

    # -- ports -----------------------------------------------------------------------------------------------

    def _on_connect(self, channel: int, message: dict[str, Any]) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = made.connect_ex(("127.0.0.1", message["port"]))
        if code not in (0, errno.EINPROGRESS):
            made.close()
            raise OSError(code, os.strerror(code))
        over = False

        def connected(_: int) -> None:
            nonlocal over
            if not over:
                over = True
                self._line.selector.unregister(made)
                self._connected(channel, made)

        self._line.selector.register(made, 2, connected)
        self._late.append((time.monotonic() + _CONNECT_TIME, lambda: connected(0)))

    def _connected(self, channel: int, made: socket.socket) -> None:
        code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if not code:
                made.getpeername()
        except OSError:
            code = errno.ETIMEDOUT
        if code:
            made.close()
            self._line.say(channel, op="failed", text=os.strerror(code), errno=code)
            return
        self._line.say(channel, op="begun", pid=0)
        reading = os.dup(made.fileno())
        self._line.sink(channel, frames.IN, made.detach(), half_closed)
        self._line.source(channel, frames.OUT, reading)

    def _on_forget(self, channel: int, message: dict[str, Any]) -> None:
        self._line.forget(channel)


def _killed_for_memory() -> bool:
    with open("/proc/vmstat") as file:  # noqa: PTH123
        return any(line.startswith("oom_kill ") and not line.endswith(" 0\n") for line in file)


def half_closed(descriptor: int) -> None:
    """The end of what is written to a socket, which may still be read."""
    with socket.socket(fileno=descriptor) as made:
        made.shutdown(socket.SHUT_WR)


def _run(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Become the first program of that name that can be run. Raises ``OSError``."""
    name, saved = argv[0], OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    folders = [""] if "/" in name else env.get("PATH", os.defpath).split(":")
    for folder in folders:
        try:
            os.execve(f"{folder}/{name}" if folder else name, argv, env)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                saved = exc
    raise saved


def _reduce(begun: dict[str, Any], message: dict[str, Any]) -> None:
    """Leave a process what commands of containers may do, and its user's rights. Raises ``OSError``: no command runs
    without one of its walls."""
    for number in begun["drops"]:
        _libc.prctl(_DROP, number, 0, 0, 0)  # fails, too, for those that this kernel does not know
        if _libc.prctl(_HELD, number, 0, 0, 0) == 1:
            raise OSError(errno.EPERM, f"capability {number} could not be taken away")
    os.setgroups(message["groups"])
    os.setresgid(message["gid"], message["gid"], message["gid"])
    os.setresuid(message["uid"], message["uid"], message["uid"])
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "new privileges could not be given up")
    if program := bytes.fromhex(begun["filter"]):
        code = ctypes.create_string_buffer(program, len(program))
        filled = struct.pack("=H6xQ", len(program) // _INSTRUCTION, ctypes.addressof(code))
        if _libc.prctl(_SET_SECCOMP, _FILTER, filled, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "the filter of system calls")


def main() -> None:
    ground.load()
    Guest(_port()).run()


if __name__ == "__main__":
    main()
