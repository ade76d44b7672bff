"""The starter of sandboxes, as a process."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass.worker.sandboxes import child as children
from windlass.worker.sandboxes import spools, starter, starting


def starters(folder: Path) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            words = (one / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(os.fsencode(folder)) for word in words):
            found.append(int(one.name))
    return found


@pytest.mark.parametrize("wait", [0.0, 0.05], ids=["at once", "while it begins"])
def test_one_that_nobody_has_spoken_with_goes_with_whoever_began_it(tmp_path: Path, wait: float) -> None:
    async def use() -> None:
        async with starting.Starting(tmp_path, tmp_path / "exits"):
            await asyncio.sleep(wait)

    asyncio.run(use())
    deadline = time.monotonic() + 10
    while left := starters(tmp_path):
        assert time.monotonic() < deadline, f"it waits still: {left}"
        time.sleep(0.02)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[starter.Starter, socket.socket]]:
    """A starter within this process, and the listener that it has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "own"))
        listener.listen(4)
        listener.setblocking(False)
        yield starter.Starter(listener, tmp_path), listener


def asked(own: starter.Starter, talk: socket.socket) -> None:
    """It accepts, or hears the next request."""
    for key, _ in own._selector.select(5):
        key.data()


def test_the_starter_lives_on_when_it_has_no_descriptors_for_who_knocks_or_for_the_next_sandbox(own) -> None:
    one, listener = own
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
        talk.connect(listener.getsockname())
        with no_descriptors_left():
            one._accept()
            one._stock()
        assert not one._talks and not one._places and one._short
        one._accept()
        assert len(one._talks) == 1, "whoever knocked has waited"


def test_a_request_whose_descriptors_did_not_all_arrive_is_refused(own) -> None:
    one, listener = own
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
        talk.connect(listener.getsockname())
        one._accept()
        talk.settimeout(5)
        socket.send_fds(talk, [json.dumps({"op": "exec", "id": "x"}).encode()], [0, 1, 2])
        with no_descriptors_left():
            asked(one, talk)
        said = json.loads(talk.recv(4096))
    assert said["errno"] == errno.EMFILE and not one._children


def test_what_cannot_be_kept_is_not_started_and_what_did_not_start_is_not_kept(own, monkeypatch) -> None:
    one, _ = own
    begun: list[children.Child] = []
    monkeypatch.setattr(one, "_begin", lambda talk, child, inside, ends: begun.append(child))
    request = {"op": "exec", "id": "x", "inside": {"first": 1}, "ends": 0, "note": {}}
    with socket.socket() as talk:
        with no_descriptors_left(), pytest.raises(OSError, match="Too many open files"):
            one._act(talk, request, [0, 1])
        assert not begun
        one._act(talk, request, [0, 1])
        assert len(begun[0].kept) == 2
        begun[0].release()

        def fail(talk: object, child: children.Child, *_: object) -> None:
            begun.append(child)
            raise OSError(errno.EMFILE, "too many")

        monkeypatch.setattr(one, "_begin", fail)
        with pytest.raises(OSError, match="too many"):
            one._act(talk, request, [0, 1])
    assert not begun[1].kept


def test_the_starter_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    line = f"ulimit -Sn 100; exec {sys.executable} -m windlass.worker.sandboxes.starter {tmp_path}/s {tmp_path}"
    with subprocess.Popen(["sh", "-c", line]) as process:
        try:
            deadline = time.monotonic() + 20
            while not (tmp_path / "s").exists():
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (min(65536, hard), hard)
        finally:
            process.kill()


def test_a_stream_that_has_ended_costs_no_pipe_and_is_taken_over_as_ended(own, tmp_path: Path) -> None:
    one, _ = own
    theirs, given = os.pipe()
    output, writing = os.pipe()
    file = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    os.write(file, b"all of it")
    child = children.Child("x", 1, None)
    child.keep([given, output, file], {})
    one._finished["x"] = child, 0
    ours, talk = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, talk:
        one._act(talk, {"op": "emptied", "id": "x", "stream": 0}, [])
        os.close(output)
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"nobody has the other end any more")
        one._act(talk, {"op": "take", "id": "x"}, [])
        data, (first, source, kept), _, _ = socket.recv_fds(ours, 4096, 8)
        assert json.loads(data)["code"] == 0
        os.write(first, b"i")
        assert os.read(theirs, 9) == b"i", "its input is what it was"
        one._act(talk, {"op": "forget", "id": "x"}, [])
        one._act(talk, {"op": "take", "id": "x"}, [])
        assert json.loads(ours.recv(4096)) == {"id": "x", "gone": True}

    async def read() -> None:
        spool = spools.Spool(kept, source, keep=True)
        await spool.fill()
        assert await spool.read(0, 100, 0) == (b"all of it", True)
        spool.close()

    asyncio.run(asyncio.wait_for(read(), 10))
    for descriptor in (theirs, given, first, writing, file):
        os.close(descriptor)


def test_a_command_whose_end_nobody_would_hear_of_is_killed_and_refused(own, monkeypatch) -> None:
    one, _ = own
    child = children.Child("x", 1, None)
    child.pid = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    one._children["x"] = child
    say, heard = os.pipe()
    os.close(heard)  # it has begun
    one._selector.register(say, selectors.EVENT_READ, None)

    def none_left(pid: int) -> int:
        raise OSError(errno.ENFILE, "none is left")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    ours, talk = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, talk:
        one._begun(talk, child, say)
        said = json.loads(ours.recv(4096))
    assert said["errno"] == errno.ENFILE and "none is left" in said["failed"] and not one._children
    assert not Path(f"/proc/{child.pid}").exists()
