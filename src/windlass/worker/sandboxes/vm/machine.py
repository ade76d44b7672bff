"""The program in the cell: starts virtiofsd and qemu, and stands between the worker and what runs in the machine.

    python -c "…machine.main()"        reads BUNDLE/machine.json, listens at BUNDLE/sock

Its own standard streams are those of the sandbox's own command, and its exit code is that command's. Others come as
packets of JSON with descriptors, as to the starter:

    exec      a command on the descriptors that came along; the answer is its pid, later comes its exit code
    connect   the descriptor that came along becomes a connection with a port on the machine's loopback
    up        answered when the sandbox's own command runs
    kill, resize, sync
"""
from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import time
import tty

from windlass.worker.sandboxes.vm import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

BUNDLE = "/bundle"
HUNGRY = "out of memory"
"""Its state after its own command was killed for memory."""
_ENTRY = 1
_PACKET, _DESCRIPTORS, _CONSOLE = 256 * 1024, 4, 16 * 1024
_READ, _LAST_WORDS = 1, 3.0
_CAPSET, _DROP, _NO_NEW_PRIVILEGES, _DIE_WITH_PARENT, _CAP_VERSION = 126, 24, 38, 1, 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Asked:
    """A command or connection: who asked for it, and by which name."""

    def __init__(self, talk: socket.socket | None, name: str, ends: list[int], *, kind: str) -> None:
        self.talk = talk
        self.name = name
        self.ends = ends
        self.kind = kind
        self.begun = False


class Machine:
    def __init__(self, words: dict[str, Any], listener: socket.socket, port: int, console: int) -> None:
        self._words = words
        self._listener = listener
        self._line = frames.Line(port, self._said)
        self._asked: dict[int, _Asked] = {}
        self._next = _ENTRY
        self._up = False
        self._steps = ["here", "ready"]
        self._waiting: list[tuple[socket.socket, str]] = []
        self.console = b""
        os.set_blocking(console, False)
        selector = self._line.selector
        selector.register(console, _READ, lambda _: self._told(console))
        selector.register(listener, _READ, lambda _: self._accept())

    def watch(self, process: subprocess.Popen[bytes], name: str) -> None:
        handle = os.pidfd_open(process.pid)
        self._line.selector.register(handle, _READ, lambda _: self._gone(process, name))

    def run(self) -> NoReturn:
        try:
            while True:
                self._line.turn()
        except frames.Broken:
            self._end(1, self._last_words())

    def _gone(self, process: subprocess.Popen[bytes], name: str) -> NoReturn:
        self._end(1, f"{name} ended with code {process.wait()}; {self._last_words()}")

    def _last_words(self) -> str:
        lines = [line for line in self.console.decode(errors="replace").splitlines() if line.strip()]
        ours = [line for line in lines if line.startswith("windlass: ")]  # what the first process lacked
        found = next((line for line in lines if "panic" in line), lines[-1] if lines else "it said nothing")
        found = ours[0] if ours else found
        return f"the virtual machine ended: {found.strip()[-200:]}"

    def _end(self, code: int, why: str = "") -> NoReturn:
        if why:
            _note(f"failed {why}")
            try:
                print(f"windlass: {why}", file=sys.stderr, flush=True)
            except OSError:  # its stream has ended before
                os._exit(code)
        os._exit(code)

    def _told(self, console: int) -> None:
        """What the kernel says; of it only the last is kept."""
        try:
            said = os.read(console, 65536)
        except BlockingIOError:
            return
        if not said:
            self._line.selector.unregister(console)
        self.console = (self.console + said)[-_CONSOLE:]

    # -- the machine -----------------------------------------------------------------------------------------

    def _said(self, channel: int, message: dict[str, Any]) -> None:
        """Nothing that comes from inside is believed to be well made."""
        op = message.get("op")
        if channel == 0:
            if op in ("here", "ready"):
                self._came_up(op)
            elif op == "failed":
                self._end(1, f"its machine could not be furnished: {str(message.get('text'))[:500]}")
            return
        one = self._asked.get(channel)
        if one is None:
            return
        number = message.get("pid" if op == "begun" else "code" if op == "exit" else "errno", 0)
        number = number if isinstance(number, int) else 0
        if op == "begun" and not one.begun:
            self._begun(channel, one, number)
        elif op == "failed" and not one.begun:
            self._refused(channel, one, str(message.get("text", ""))[:1000], number)
        elif op == "exit" and one.begun:
            self._over(channel, one, number & 0xFF, hungry=message.get("oom") is True)

    def _came_up(self, op: str) -> None:
        if self._steps[:1] != [op]:
            raise frames.Broken(f"it says {op} out of turn")
        del self._steps[0]
        if op == "here":
            self._line.say(0, op="begin", time=time.time(), **self._words["begin"])
        else:
            self._begin_entry()

    def _begun(self, channel: int, one: _Asked, pid: int) -> None:
        one.begun = True
        if one.kind == "sync":
            del self._asked[channel]
        elif one.kind == "connect":
            self._line.sink(channel, frames.OUT, os.dup(one.ends[0]), half_closed)
            self._line.source(channel, frames.IN, one.ends[0])
            del self._asked[channel]
        if one.talk is not None:
            _say(one.talk, {"id": one.name, "pid": pid})
        else:
            self._up = True
            _note("up")
            for talk, name in self._waiting:
                _say(talk, {"id": name, "pid": pid})

    def _refused(self, channel: int, one: _Asked, text: str, number: int) -> None:
        del self._asked[channel]
        self._line.forget(channel)
        if one.talk is None:
            self._end(127, text)
        if one.kind == "connect":
            os.close(one.ends[0])
        _say(one.talk, {"id": one.name, "failed": text, "errno": number})

    def _over(self, channel: int, one: _Asked, code: int, *, hungry: bool) -> None:
        self._line.stop(channel, frames.IN)
        del self._asked[channel]
        if one.talk is not None:
            _say(one.talk, {"id": one.name, "exit": code})
            return
        end = time.monotonic() + _LAST_WORDS
        while self._line.pending(channel) and time.monotonic() < end:
            self._line.turn(end - time.monotonic())
        if hungry:
            _note(HUNGRY)
        self._end(code)

    # -- the worker ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        talk, _ = self._listener.accept()
        self._line.selector.register(talk, _READ, lambda _: self._heard(talk))

    def _heard(self, talk: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            data, descriptors, _, _ = socket.recv_fds(talk, _PACKET, _DESCRIPTORS)
            if not data:
                raise OSError
            request = json.loads(data)
        except (OSError, ValueError):
            self._line.selector.unregister(talk)
            self._waiting = [one for one in self._waiting if one[0] is not talk]
            self._end_commands_of(talk)
            talk.close()
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._act(talk, request, descriptors)

    def _end_commands_of(self, talk: socket.socket) -> None:
        """Of a worker that has ended: the next one knows nothing of them, nor of when they shall end."""
        for channel, one in self._asked.items():
            if one.talk is talk and one.kind == "exec":
                self._line.say(channel, op="kill")

    def _act(self, talk: socket.socket, request: dict[str, Any], ends: list[int]) -> None:
        name, op = request["id"], request["op"]
        if op == "up":
            self._waiting.append((talk, name))
            if self._up:
                _say(talk, {"id": name, "pid": 0})
        elif op == "exec":
            self._start(_Asked(talk, name, ends, kind=op), request["inside"])
        elif op in ("connect", "sync"):
            channel = self._channel(_Asked(talk, name, ends, kind=op))
            self._line.say(channel, op=op, port=request.get("port", 0))
        elif op in ("kill", "resize"):
            for channel, one in self._asked.items():
                if one.name == name and (one.talk is not None or op == "resize"):  # "" is the sandbox's own
                    self._line.say(channel, op=op, rows=request.get("rows", 0), cols=request.get("cols", 0))

    def _channel(self, one: _Asked) -> int:
        self._asked[self._next] = one
        self._next += 1
        return self._next - 1

    def _begin_entry(self) -> None:
        inside = self._words["entry"]
        self._start(_Asked(None, "", [0] if inside.get("pty") else [0, 1, 2], kind="exec"), inside)

    def _start(self, one: _Asked, inside: dict[str, Any]) -> None:
        channel = self._channel(one)
        words = {key: inside[key] for key in ("argv", "env", "cwd", "uid", "gid", "groups")}
        if inside.get("pty"):
            rows, cols = _raw(one.ends[0])
            self._line.say(channel, op="start", pty=True, rows=rows or 24, cols=cols or 80, **words)
            self._line.sink(channel, frames.OUT, os.dup(one.ends[0]))
        else:
            self._line.say(channel, op="start", **words)
            self._line.sink(channel, frames.OUT, one.ends[1])
            self._line.sink(channel, frames.ERR, one.ends[2])
        self._line.source(channel, frames.IN, one.ends[0])


def half_closed(descriptor: int) -> None:
    """The end of what is written to a socket, which may still be read."""
    with socket.socket(fileno=descriptor) as made:
        made.shutdown(socket.SHUT_WR)


def _raw(terminal: int) -> tuple[int, int]:
    """Its size. What is typed passes it as it is: the terminal inside makes lines and echoes of it."""
    tty.setraw(terminal, termios.TCSANOW)
    rows, cols, _, _ = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))
    return rows, cols


def _say(talk: socket.socket, body: dict[str, Any]) -> None:
    try:
        talk.send(json.dumps(body).encode())
    except OSError:
        return  # a worker that has ended


def _note(text: str) -> None:
    with open(f"{BUNDLE}/state.new", "w") as file:  # noqa: PTH123
        file.write(text)
    os.rename(f"{BUNDLE}/state.new", f"{BUNDLE}/state")  # noqa: PTH104


def _confine() -> None:
    """From now on neither we nor what we start may do more than any user. (Nobody here is the machine's root.)"""
    last = int(open("/proc/sys/kernel/cap_last_cap").read())  # noqa: PTH123
    for number in range(last + 1):
        _check(_libc.prctl(_DROP, number, 0, 0, 0))
    _check(_libc.syscall(_CAPSET, struct.pack("=Ii", _CAP_VERSION, 0), bytes(24)))
    _check(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        _note(f"failed its machine's program could not give up its rights: {os.strerror(code)}")
        raise OSError(code, "rights could not be given up")


def main() -> None:
    with open(f"{BUNDLE}/machine.json") as file:  # noqa: PTH123
        words = json.load(file)
    os.unlink(f"{BUNDLE}/machine.json")  # noqa: PTH108 - it holds secrets
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{BUNDLE}/sock.new")
    listener.listen(8)
    files = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    files.bind(f"{BUNDLE}/files")
    files.listen(1)
    ours, theirs = socket.socketpair()
    console, said = os.pipe()
    errors = os.open(f"{BUNDLE}/errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    daemon = subprocess.Popen(
        [word.format(files=files.fileno()) for word in words["virtiofsd"]], pass_fds=[files.fileno()],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=words["environment"],
    )  # fmt: skip
    _confine()
    qemu = subprocess.Popen(
        [word.format(line=theirs.fileno()) for word in words["qemu"]], pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=words["environment"],
    )  # fmt: skip
    for descriptor in (said, errors, files.detach(), theirs.detach()):
        os.close(descriptor)
    machine = Machine(words, listener, ours.detach(), console)
    machine.watch(daemon, "virtiofsd")
    machine.watch(qemu, "qemu")
    os.rename(f"{BUNDLE}/sock.new", f"{BUNDLE}/sock")  # noqa: PTH104 - from now on it answers
    machine.run()


if __name__ == "__main__":
    main()
