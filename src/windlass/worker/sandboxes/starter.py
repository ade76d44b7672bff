"""A program of the node that makes sandboxes and starts commands in them.

    python -m windlass.worker.sandboxes.starter SOCKET EXITS

It listens at SOCKET for packets of JSON with descriptors (see ``Starter``), writes the exit status of sandboxes into
the folder EXITS, and outlives the worker as each container's monitor does: it goes when nobody is connected and its
last sandbox has ended. What a worker reads and writes of a command is in its custody too, so that the next worker goes
on where one was killed (``custody``). It is small, so that a fork of it is fast, and has one thread, so that a fork is
safe.

    cell     namespaces and mounts of one sandbox, each with a user namespace of its own (``snapshots.cell``)
    start    the command of a sandbox: its output becomes the log, as a monitor would write it
    exec     another command in there, on the caller's descriptors
"""
from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windlass.worker import linux, seccomp
from windlass.worker.sandboxes import child as children
from windlass.worker.sandboxes import entering
from windlass.worker.sandboxes import place as places
from windlass.worker.snapshots import cell, keeper
from windlass.worker.snapshots import filter as filters

_PACKET, _DESCRIPTORS, _CHUNK = 256 * 1024, 8, 65536
_OPEN_FILES = 65536  # at most: whoever leaves us for a sandbox closes as many (``entering``, ``cell``)
_TYPED, _END = 1024, b"\x04"
_READY = 2  # user namespaces that wait to be used
_BACKLOG = 64
_CALM = 0.02  # seconds without a request after which it does what nobody waits for
_CLOSE_ON_EXEC = 0x40000000  # of what recvmsg receives
_PATIENCE = 30.0  # seconds that it waits for whoever began it


class Starter:
    def __init__(self, listener: socket.socket, exits: Path) -> None:
        self._exits = exits
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._talks: set[socket.socket] = set()
        self._children: dict[str, children.Child] = {}
        self._finished: dict[str, tuple[children.Child, int]] = {}
        """Commands in custody, with their exit codes."""
        self._places: list[places.Place] = []
        self._short = False
        """No place could be made: the next attempt is that of a sandbox, which hears why."""
        self._program = filters.Filter(profile).program() if (profile := seccomp.profile()) else b""
        self._connected = False
        self._reducing = entering.reducing()
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        while not self._connected or self._talks or self._is_needed():
            stocked = self._short or len(self._places) >= _READY
            ready = self._selector.select(_PATIENCE if not self._connected else None if stocked else _CALM)
            if not ready and not self._connected:
                return  # whoever wanted us is gone
            if not ready:
                self._stock()
            for key, _ in ready:
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _is_needed(self) -> bool:
        return bool(self._finished) or any(one.talk is None or one.kept for one in self._children.values())

    def _stock(self) -> None:
        """Make what the next sandbox needs, while nobody waits."""
        try:
            self._places.append(places.Place())
        except OSError:
            self._short = True

    # -- conversations ---------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            talk, _ = self._listener.accept()
        except OSError:  # too many descriptors: whoever knocks waits, and those who are in are heard
            time.sleep(_CALM)
            return
        self._connected = True
        self._talks.add(talk)
        self._selector.register(talk, selectors.EVENT_READ, lambda: self._asked(talk))

    def _asked(self, talk: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            data, descriptors, flags, _ = socket.recv_fds(talk, _PACKET, _DESCRIPTORS, _CLOSE_ON_EXEC)
            if not data:
                raise OSError
            request = json.loads(data)
        except (OSError, ValueError):
            for descriptor in descriptors:
                os.close(descriptor)
            self._selector.unregister(talk)
            self._talks.discard(talk)
            talk.close()
            return
        try:
            if flags & socket.MSG_CTRUNC:  # there was no room for all that came along
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._act(talk, request, descriptors)
        except OSError as exc:
            _say(talk, {"id": request["id"], "failed": exc.strerror or str(exc), "errno": exc.errno or 0})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _act(self, talk: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
        name = request["id"]
        if request["op"] == "cell":
            self._cell(talk, name, request["plan"])
        elif request["op"] == "start":
            self._start(talk, name, request["inside"])
        elif request["op"] == "exec":
            child, ends = children.Child(name, request["inside"]["first"], talk), request["ends"]
            child.keep(descriptors[ends:], request["note"])  # first: a command that runs has all that it needs
            try:
                self._begin(talk, child, request["inside"], descriptors[:ends])
            except OSError:
                child.release()
                raise
        elif request["op"] in ("names", "take", "forget"):
            self._custody(talk, name, request["op"])
        elif request["op"] == "emptied":
            if (kept := self._keeps(name)[0]) is not None:
                kept.empty(request["stream"], self._null)
        elif (known := self._children.get(name)) is not None:
            if request["op"] == "kill":
                known.kill()
            elif request["op"] == "eof" and known.input >= 0:
                os.close(known.input)
                known.input = -1
            elif request["op"] == "eof" and known.has_input:
                known.end_input()
            elif request["op"] == "resize" and known.terminal >= 0:
                entering.resize(known.terminal, request["rows"], request["cols"])

    def _keeps(self, name: str) -> tuple[children.Child | None, int | None]:
        return self._finished.get(name) or (self._children.get(name), None)

    def _custody(self, talk: socket.socket, name: str, act: str) -> None:
        child, code = self._keeps(name)
        if act == "names":
            kept = [one.name for one in self._children.values() if one.kept]
            _say(talk, {"id": name, "names": [*kept, *self._finished]})
        elif child is None and act == "take":
            _say(talk, {"id": name, "gone": True})
        elif child is None:
            return  # it has ended, and nobody will ask for it
        elif act == "take":
            child.talk = talk
            _say(talk, {"id": name, "note": child.note, "input": child.has_input, "code": code}, child.kept)
        elif act == "forget":
            child.release()
            self._finished.pop(name, None)

    # -- sandboxes -------------------------------------------------------------------------------------------

    def _cell(self, talk: socket.socket, name: str, plan: cell.Plan) -> None:
        place = self._places.pop() if self._places else places.Place()
        self._short = False
        try:
            ours, theirs = keeper._pair()
        except OSError:
            place.close()
            raise
        try:
            with theirs:
                place.maker.make(plan, theirs)
        except OSError:
            ours.close()
            place.close()
            raise
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._furnished(talk, name, ours, place))

    def _furnished(self, talk: socket.socket, name: str, ours: socket.socket, place: places.Place) -> None:
        self._selector.unregister(ours)
        with ours:
            said, first = cell.heard(ours, 0)
        place.close()
        answer = {"pid": first} if said == "ok" else {"failed": f"its namespaces could not be made: {said}", "errno": 0}
        _say(talk, {"id": name, **answer})

    def _start(self, talk: socket.socket, name: str, inside: entering.Inside) -> None:
        """The command of a sandbox."""
        child = children.Child(name, inside["first"], None)
        theirs: list[int] = []
        try:
            child.input = os.open(inside["stdin"], os.O_RDWR | os.O_CLOEXEC)
            theirs.append(source := os.open(inside["stdin"], os.O_RDONLY | os.O_CLOEXEC))
            if inside.get("pty"):
                theirs = child.on_terminal(source)
            else:
                for stream in (b"stdout", b"stderr"):
                    ours, end = os.pipe()
                    child.pipes[ours] = stream
                    theirs.append(end)
            child.log = keeper.Fork("", 0, [])
            child.log.become(name, inside["log"])
            self._begin(talk, child, inside, theirs)
        except OSError:
            child.drop()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _copy(self, child: children.Child, pipe: int, *, last: bool = False) -> bool:
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that nobody uses any more
            data = b""
        assert child.log is not None
        if data:
            child.log.write(child.pipes[pipe], data)
        elif not last:
            self._selector.unregister(pipe)
            os.close(pipe)
            del child.pipes[pipe]
        return bool(data)

    # -- commands --------------------------------------------------------------------------------------------

    def _begin(self, talk: socket.socket, child: children.Child, inside: entering.Inside, ends: list[int]) -> None:
        """Have a process for a command. Whether it became the command is heard later: what is in the sandbox may stop
        it on its way, and others must not wait for that."""
        doors: list[int] = []
        home = os.pidfd_open(child.first)
        try:
            say, heard = os.pipe()
        except OSError:
            os.close(home)
            raise
        try:
            for door in inside["doors"]:
                doors.append(os.open(door, os.O_WRONLY | os.O_CLOEXEC))
            program, reducing = (b"", []) if inside.get("bare") else (self._program, self._reducing)
            becoming = entering.prepare(inside, ends, home, doors, heard, program, reducing)
            linux.setns(home, linux.NEWPID)  # of children, not of ours
            try:
                child.pid = becoming.fork()
            finally:
                linux.setns(self._own, linux.NEWPID)  # a sandbox that has ended has no place for more
        except OSError:
            os.close(say)
            raise
        finally:
            for descriptor in (*doors, home, heard):
                os.close(descriptor)
        self._children[child.name] = child
        self._selector.register(say, selectors.EVENT_READ, lambda: self._begun(talk, child, say))

    def _begun(self, talk: socket.socket, child: children.Child, say: int) -> None:
        trouble = os.read(say, 4096)  # it is empty once the command has begun
        self._selector.unregister(say)
        os.close(say)
        if not trouble:
            try:
                child.handle = os.pidfd_open(child.pid)
            except OSError as exc:  # nobody would hear of its end
                child.kill()
                trouble = f"{exc.errno} its handle: {exc.strerror}".encode()
        if trouble:
            os.waitpid(child.pid, 0)
            del self._children[child.name]
            child.drop()
            number, _, text = trouble.decode(errors="replace").partition(" ")
            _say(talk, {"id": child.name, "failed": text, "errno": int(number)})
            return
        self._selector.register(child.handle, selectors.EVENT_READ, lambda: self._ended(child))
        for pipe in child.pipes:
            self._selector.register(pipe, selectors.EVENT_READ, lambda pipe=pipe: self._copy(child, pipe))
        if child.source >= 0:
            self._selector.register(child.source, selectors.EVENT_READ, lambda: self._type(child))
        _say(talk, {"id": child.name, "pid": child.pid})

    def _type(self, child: children.Child) -> None:
        """From the pipe to the terminal. What it does not take now waits, and the pipe with it."""
        if not child.typed:
            child.typed = os.read(child.source, _TYPED)
            if not child.typed:
                child.typed = _END
                self._selector.unregister(child.source)
                os.close(child.source)
                child.source = -1
        try:
            child.typed = child.typed[os.write(child.terminal, child.typed) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more
            child.typed = b""
        waits = self._selector.get_map().get(child.terminal) is not None
        if child.typed and not waits:
            if child.source >= 0:
                self._selector.unregister(child.source)
            self._selector.register(child.terminal, selectors.EVENT_WRITE, lambda: self._type(child))
        elif not child.typed and waits:
            self._selector.unregister(child.terminal)
            if child.source >= 0:
                self._selector.register(child.source, selectors.EVENT_READ, lambda: self._type(child))

    def _ended(self, child: children.Child) -> None:
        status = os.waitpid(child.pid, 0)[1]
        self._selector.unregister(child.handle)
        os.close(child.handle)
        for descriptor in (child.terminal, child.source):
            if descriptor >= 0:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(descriptor)
                os.close(descriptor)
        if child.input >= 0:
            os.close(child.input)
        code = keeper._exit_code(status)
        if child.talk is not None:
            _say(child.talk, {"id": child.name, "exit": code})
            if child.kept:
                child.end_input()  # what it left behind reads no more of it
                self._finished[child.name] = child, code
        else:
            self._over(child, code)
        del self._children[child.name]

    def _over(self, child: children.Child, code: int) -> None:
        """The end of its command is the end of a sandbox, whatever else runs there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.first, signal.SIGKILL)
        for pipe in list(child.pipes):
            os.set_blocking(pipe, False)
            while self._copy(child, pipe, last=True):
                pass
            self._selector.unregister(pipe)
            os.close(pipe)
        if child.log is not None:
            os.close(child.log.log)
        keeper._write_exit(self._exits, child.name, code)


def _say(talk: socket.socket, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    with contextlib.suppress(OSError):
        socket.send_fds(talk, [json.dumps(body).encode()], list(descriptors))


def main() -> int:
    os.umask(0o022)
    # It keeps some of each command; what it starts is given limits of its own (``entering``).
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))
    linux.set_dumpable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, exits = sys.argv[1], Path(sys.argv[2])
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    draft = f"{path}.new"
    listener.bind(draft)
    Path(draft).chmod(0o600)
    listener.listen(_BACKLOG)
    starter = Starter(listener, exits)
    gc.freeze()
    Path(draft).rename(path)  # from now on it answers
    try:
        starter.run()
    finally:
        Path(path).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
