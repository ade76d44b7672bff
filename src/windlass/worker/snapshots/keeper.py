"""A program of the node beside each family: makes its forks, keeps their output, tells their ends.

    python -m windlass.worker.snapshots.keeper DESCRIPTOR

The descriptor is the worker's end of a conversation in packets of JSON; the first tells which family this is
(``Family``). The keeper outlives the worker, as each container's monitor does: then it makes no more forks, and goes
when the last one has ended. The template never hears from anybody else.
"""
from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

from windlass.kit import files
from windlass.worker import cgroups, linux
from windlass.worker.snapshots import cell, transplant

_PACKET = 256 * 1024
_CHUNK = 65536
_PASSCRED = 16
KINDS = ("user", "mnt", "ipc", "uts", "net", "pid")  # the order in which they are entered


class Family(TypedDict):
    """``init``: process 1 of the template's container. ``door``: the socket that waits for the template. ``key``: see
    ``transplant``. ``capabilities``: what forks keep, as a mask. ``exits``: the folder of exit files."""

    init: int
    door: str
    key: list[int]
    capabilities: int
    exits: str


class Fork:
    """A process in its cell: it waits until it is told which container it is."""

    def __init__(self, cell_name: str, first: int, doors: list[str]) -> None:
        self.cell = cell_name
        self.doors = doors
        """Of its control groups, which have the name of the cell."""
        self.first = first
        """Process 1 of its cell."""
        self.name = ""
        """Of the container that it is."""
        self.log = -1
        self.inner = 0
        """The number that the family knows its process by."""
        self.pipes: dict[int, bytes] = {}
        self.talk: socket.socket | None = None
        self.moved = False

    def become(self, name: str, log: str) -> None:
        self.name = name
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, stream: bytes, data: bytes) -> None:
        """Append to the log as a container's monitor does: each line with its time; P has no end of line yet."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}+00:00"
        lines = data.split(b"\n")
        head = f"{stamp} {stream.decode()} ".encode()
        text = b"".join(head + b"F " + line + b"\n" for line in lines[:-1])
        if lines[-1]:
            text += head + b"P " + lines[-1] + b"\n"
        with contextlib.suppress(OSError):  # a full disk must not end the others
            os.write(self.log, text)


class Keeper:
    def __init__(self, worker: socket.socket, family: Family) -> None:
        self._worker: socket.socket | None = worker
        self._family = family
        self._forks: dict[int, Fork] = {}
        """By ``inner``."""
        self._waiting: dict[str, Fork] = {}
        """Those that are no containers yet, by their cells."""
        self._cells: dict[str, int] = {}
        """First processes of those that nobody has taken yet."""
        self._selector = selectors.DefaultSelector()
        self._over = False
        """No more forks are made."""
        self._template: socket.socket | None = None
        self._first: socket.socket | None = None
        self._maker: cell.Maker | None = None
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._door.bind(family["door"])
        Path(family["door"]).chmod(0o666)
        self._door.listen(2)
        ours = os.open(f"/proc/{family['init']}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        self._userns = cell.user_namespace(ours)
        os.close(ours)
        pids = os.open(f"/proc/{family['init']}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(pids, linux.NEWPID)
        os.close(pids)
        self._selector.register(self._door, selectors.EVENT_READ, self._knock)
        self._selector.register(worker, selectors.EVENT_READ, self._asked)

    def run(self) -> None:
        self._say({"ready": True})
        while self._forks or not self._over:
            for key, _ in self._selector.select():
                if self._selector.get_map().get(key.fd) is key:  # what came before may have closed it
                    key.data()

    # -- the family ----------------------------------------------------------------------------------------

    def _knock(self) -> None:
        """Process 1 and the template, in this order, before any user code; then the door is shut."""
        guest, _ = self._door.accept()
        if self._first is None:
            self._first = guest
            self._selector.register(guest, selectors.EVENT_READ, self._buried)
            return
        self._template = guest
        self._selector.register(guest, selectors.EVENT_READ, self._template_said)
        self._selector.unregister(self._door)
        self._door.close()
        Path(self._family["door"]).unlink(missing_ok=True)

    def _template_said(self) -> None:
        assert self._template is not None
        data = _packet(self._template)
        if data is None:
            self._selector.unregister(self._template)
            self._template.close()
            self._template, self._over = None, True
            self._say({"template": {"gone": True}})
        else:
            self._say({"template": data})

    def _buried(self) -> None:
        """Process 1 has seen a process of the family end."""
        assert self._first is not None
        data = _packet(self._first)
        if data is None:  # and with it all others
            self._selector.unregister(self._first)
            self._over = True
            for inner in list(self._forks):
                self._ended(inner, signal.SIGKILL)
            return
        if (inner := data.get("pid")) in self._forks:
            status = data.get("status")
            self._ended(inner, status if isinstance(status, int) else signal.SIGKILL)

    def _ended(self, inner: int, status: int) -> None:
        fork = self._forks.pop(inner)
        with contextlib.suppress(ProcessLookupError):
            os.kill(fork.first, signal.SIGKILL)
        if not fork.name:
            self._close(fork)
            self._say({"lost": fork.cell})
            return
        for pipe in list(fork.pipes):
            os.set_blocking(pipe, False)
            while self._copy(fork, pipe, last=True):
                pass
        self._close(fork)
        _write_exit(Path(self._family["exits"]), fork.name, _exit_code(status))

    # -- the worker ----------------------------------------------------------------------------------------

    def _asked(self) -> None:
        assert self._worker is not None
        request = _packet(self._worker)
        if request is None:
            self._selector.unregister(self._worker)
            self._worker = None
            self._retire()
        elif "go" in request:
            self._go(request["go"])
        elif "cell" in request:
            self._cell(request["cell"]["id"], request["cell"]["plan"])
        elif "fork" in request:
            self._fork(request["fork"]["cell"], request["fork"]["doors"])
        elif "retire" in request:
            self._retire()

    def _retire(self) -> None:
        self._over = True
        if self._template is not None:
            self._selector.unregister(self._template)
            self._template.close()  # which ends it
            self._template = None
        for fork in self._waiting.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(fork.first, signal.SIGKILL)

    def _say(self, body: dict[str, Any]) -> None:
        if self._worker is not None:
            with contextlib.suppress(OSError):
                self._worker.send(json.dumps(body).encode())

    # -- one fork ------------------------------------------------------------------------------------------

    def _cell(self, name: str, plan: cell.Plan) -> None:
        """Begin a cell. Many may be in the making: what takes long there is waiting for the kernel."""
        ours, theirs = _pair()
        try:
            with theirs:
                if self._maker is None:
                    self._maker = cell.Maker(self._userns)
                self._maker.make(plan, theirs)
        except OSError as exc:
            ours.close()
            if self._maker is not None:
                self._maker.close()
                self._maker = None
            self._say({"id": name, "failed": f"the cell could not be begun: {exc}"})
            return
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._furnished(name, ours))

    def _furnished(self, name: str, ours: socket.socket) -> None:
        self._selector.unregister(ours)
        with ours:
            said, first = cell.heard(ours, 0)
        if said == "ok":
            self._cells[name] = first
            self._say({"id": name, "pid": first})
        else:
            self._say({"id": name, "failed": f"the cell could not be made: {said}"})

    def _fork(self, cell_name: str, doors: list[str]) -> None:
        """Begin a fork: ask the template for a child. Many may be on their way; each step waits for nobody."""
        fork = Fork(cell_name, self._cells.pop(cell_name, 0), doors)
        ours, theirs = _pair()
        fork.talk = ours
        reading, writing = os.pipe(), os.pipe()
        fork.pipes = {reading[0]: b"stdout", writing[0]: b"stderr"}
        try:
            with theirs:
                if self._template is None or not fork.first:
                    raise OSError(0, "the template has ended")
                socket.send_fds(self._template, [b"fork"], [theirs.fileno(), reading[1], writing[1]])
        except OSError as exc:
            self._failed(fork, exc)
            return
        finally:
            for descriptor in (reading[1], writing[1]):
                os.close(descriptor)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._spoke(fork))

    def _spoke(self, fork: Fork) -> None:
        """The child waits to be moved into the cell, or *its* child, which stays, is born there."""
        assert fork.talk is not None
        said, pid = cell.heard(fork.talk, 0)
        try:
            if said == "born":
                self._stays(fork, pid)
                return
            if fork.moved:
                raise OSError(0, f"the fork is not born: {said}")
            number = int(said)  # its descriptor of the conversation
            transplant.move(
                pid, deliver=lambda: _deliver(fork), socket=number, key=self._family["key"],
                capabilities=self._family["capabilities"],
            )  # fmt: skip
            fork.moved = True
            fork.talk.send(b"moved")
        except (OSError, ValueError) as exc:
            self._selector.unregister(fork.talk)
            self._failed(fork, exc)

    def _stays(self, fork: Fork, pid: int) -> None:
        if not self._inside(pid, fork.first) or not _limited(pid, fork):
            raise OSError(0, "the fork is not where it should be")
        fork.inner = _numbers(pid)[-2]
        assert fork.talk is not None
        self._selector.unregister(fork.talk)
        self._forks[fork.inner] = self._waiting[fork.cell] = fork
        self._say({"id": fork.cell, "pid": pid})

    def _failed(self, fork: Fork, exc: Exception) -> None:
        if fork.first:
            with contextlib.suppress(ProcessLookupError):
                os.kill(fork.first, signal.SIGKILL)
        self._close(fork)
        self._say({"id": fork.cell, "failed": str(exc)})

    def _inside(self, pid: int, first: int) -> bool:
        try:
            return all(_namespace(pid, kind) == _namespace(first, kind) for kind in KINDS)
        except OSError:
            return False

    def _go(self, request: dict[str, str]) -> None:
        """It is this container from now on; limits, files and network are there: let it run."""
        fork, name = self._waiting.pop(request["cell"], None), request["id"]
        if fork is None:
            _write_exit(Path(self._family["exits"]), name, _exit_code(signal.SIGKILL))
            return
        fork.become(name, request["log"])
        for pipe in fork.pipes:
            self._selector.register(pipe, selectors.EVENT_READ, lambda pipe=pipe: self._copy(fork, pipe))
        assert fork.talk is not None
        with contextlib.suppress(OSError):  # it has ended: that will be told
            _set_hostname(fork.first, name[:63])
            fork.talk.send(b"go")
        fork.talk.close()
        fork.talk = None

    def _copy(self, fork: Fork, pipe: int, *, last: bool = False) -> bool:
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            fork.write(fork.pipes[pipe], data)
        elif not last:
            self._selector.unregister(pipe)
            os.close(pipe)
            del fork.pipes[pipe]
        return bool(data)

    def _close(self, fork: Fork) -> None:
        for pipe in fork.pipes:
            with contextlib.suppress(KeyError):
                self._selector.unregister(pipe)
            os.close(pipe)
        if fork.talk is not None:
            fork.talk.close()
        self._waiting.pop(fork.cell, None)
        fork.pipes = {}
        if fork.log >= 0:
            os.close(fork.log)


def _deliver(fork: Fork) -> tuple[int, int]:
    """Send the namespaces of its cell and the doors of its control groups."""
    assert fork.talk is not None
    opened: list[int] = []
    try:
        for kind in KINDS:
            opened.append(os.open(f"/proc/{fork.first}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        for door in fork.doors:
            opened.append(os.open(door, os.O_WRONLY | os.O_CLOEXEC))
        socket.send_fds(fork.talk, [b"n"], opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return len(KINDS), len(fork.doors)


def _namespace(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115


def _limited(pid: int, fork: Fork) -> bool:
    """Whether it is in its control groups: others may share the memory in which it was told to go there."""
    groups = files.read(f"/proc/{pid}/cgroup").splitlines()
    ends = tuple(f"/{fork.cell}{inner}".encode() for inner in ("", f"/{cgroups.INNER}"))
    return sum(line.endswith(ends) for line in groups) >= len(fork.doors)


def _set_hostname(first: int, name: str) -> None:
    """Name a cell; this process has no use for a host name of its own."""
    uts = os.open(f"/proc/{first}/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(uts, linux.NEWUTS)
    finally:
        os.close(uts)
    socket.sethostname(name)


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, _PASSCRED, 1)
    return ours, theirs


def _packet(connection: socket.socket) -> Any:
    """The next message, or None at the end."""
    try:
        data = connection.recv(_PACKET)
        said = json.loads(data) if data else None
        return said if isinstance(said, dict) else None
    except (OSError, ValueError):
        return None


def _numbers(pid: int) -> list[int]:
    """The pids of a process, from our namespace inwards."""
    for line in files.read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            return [int(word) for word in line.split()[1:]]
    return [pid]


def _exit_code(status: int) -> int:
    """As a shell would say it; that of a kill for what is no end of a process."""
    try:
        code = os.waitstatus_to_exitcode(status)
    except (ValueError, OverflowError):
        code = -signal.SIGKILL
    return code if code >= 0 else 128 - code


def _write_exit(folder: Path, name: str, code: int) -> None:
    draft = folder / f".{name}"
    draft.write_text(str(code))
    draft.rename(folder / name)


def new_key() -> list[int]:
    """What lets a fork into its cell."""
    import secrets  # it loads a library of cryptography, which each fork of a keeper or starter would pay for

    return [secrets.randbits(64) for _ in range(transplant.KEY_WORDS)]


def main() -> int:
    os.umask(0o022)
    worker = socket.socket(fileno=int(sys.argv[1]))
    linux.set_dumpable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    family = _packet(worker)
    if family is None:
        return 1
    try:
        keeper = Keeper(worker, family)
    except OSError as exc:
        worker.send(json.dumps({"failed": str(exc)}).encode())
        return 1
    gc.freeze()
    keeper.run()
    with contextlib.suppress(ProcessLookupError):
        os.kill(family["init"], signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
