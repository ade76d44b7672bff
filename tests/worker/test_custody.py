"""What an earlier worker's starter has kept, as the next worker takes it over, however spoiled it is."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import resource
import select
import socket
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.kit import clock, tasks
from windlass.worker.sandboxes import custody, execs, service, spools, starting

NOTE = {"container_id": "sb-1", "sources": {"stdout": True}, "pty": False, "deadline": 0.0}


class Kept:
    """The other end: what it will say is in the socket before it is asked."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.talk = ours
        self.talk.settimeout(5)
        self.earlier = custody.Earlier(theirs)

    def says(self, body: dict[str, Any] | bytes, *descriptors: int) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        socket.send_fds(self.talk, [data], list(descriptors))

    def heard(self) -> list[dict[str, Any]]:
        """All that it was told until now; None at the end for one that was left."""
        self.talk.setblocking(False)
        found = []
        try:
            while data := self.talk.recv(1 << 18):
                found.append(json.loads(data))
        except BlockingIOError:
            return found
        return [*found, None]

    def forgotten(self) -> list[str]:
        return [said["id"] for said in self.heard() if said and said["op"] == "forget"]


@pytest.fixture
def kept() -> Iterator[Kept]:
    one = Kept()
    yield one
    one.talk.close()


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[list[int]]:
    """A command's input, its output with nobody to write there, and the file."""
    theirs, given = os.pipe()
    output, writing = os.pipe()
    os.close(writing)
    file = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    yield [given, output, file]
    for descriptor in (given, output, file, theirs):
        os.close(descriptor)


def descriptors() -> int:
    gc.collect()  # what an earlier test has left
    return len(list(Path("/proc/self/fd").iterdir()))


def play(scene: Callable[[execs.Execs], Awaitable[None]]) -> None:
    failures: list[str] = []

    async def run() -> None:
        owner = tasks.Tasks(lambda name, exc: failures.append(f"{name}: {exc!r}"))
        try:
            await scene(execs.Execs(owner, lambda name: None, clock.SystemClock()))
        finally:
            await owner.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert not failures


def taken(name: str, code: int | None = None, **other: Any) -> dict[str, Any]:
    return {"id": name, "note": NOTE, "input": True, "code": code, **other}


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("spoiled", "sent", "forgotten"),
    [
        ({"id": "a", "gone": True}, 0, []),
        (taken("a"), 0, ["a"]),
        (taken("a"), 2, ["a"]),
        (taken("a", note=None), 3, ["a"]),
        (taken("a", note={"pty": False}), 3, ["a"]),
        ({"id": "a", "failed": "no", "errno": 5}, 0, ["a"]),
    ],
    ids=["gone", "no descriptors", "too few of them", "no note", "a part of a note", "refused"],
)
def test_a_command_that_is_not_whole_is_given_up_and_the_others_go_on(kept, streams, spoiled, sent, forgotten):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a", "b"]})
        kept.says(spoiled, *streams[:sent])
        kept.says(taken("b"), *streams)
        before = descriptors()
        all_of_them.take_over([kept.earlier])
        assert descriptors() - before <= 3 + 1, "more than those of the other command and what waits for its end"
        assert all_of_them.running("sb-1") == 1 and all_of_them.find("b").code is None
        assert kept.forgotten() == forgotten

    play(scene)


@pytest.mark.parametrize("nonsense", [b"{", b"[]", b"7", b'{"exit": 0}'])
def test_when_nothing_can_be_understood_all_is_given_up_and_nothing_is_left_open(kept, streams, nonsense):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a", "b"]})
        kept.says(taken("a"), *streams)
        kept.says(nonsense, *streams)
        before = descriptors()
        all_of_them.take_over([kept.earlier])
        assert descriptors() == before - 1, "only the conversation is over"
        assert not all_of_them.running("sb-1")
        assert kept.forgotten() == ["a", "b"], "the next worker would meet the same"

    play(scene)


@pytest.mark.parametrize("answer", [{"id": "names", "failed": "no", "errno": 5}, b"{"])
def test_a_starter_that_does_not_say_what_it_keeps_stops_no_worker(kept, answer):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says(answer)
        all_of_them.take_over([kept.earlier])
        assert kept.heard()[-1] is None

    play(scene)


def test_a_command_whose_file_cannot_be_used_is_given_up(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a"]})
        kept.says(taken("a"), streams[0], streams[1], streams[1])  # a pipe has no position
        before = descriptors()
        all_of_them.take_over([kept.earlier])
        assert descriptors() == before - 1
        assert kept.forgotten() == ["a"] and not all_of_them.running("sb-1")

    play(scene)


def test_an_end_that_was_told_is_the_end_even_when_the_starter_ends_later(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["over", "told", "runs"]})
        kept.says(taken("over", 3), *streams)
        for name in ("told", "runs"):
            kept.says(taken(name), *streams)
        all_of_them.take_over([kept.earlier])
        assert all_of_them.find("over").code == 3
        kept.says({"id": "told", "exit": 0})
        await until(lambda: all_of_them.find("told").code is not None)
        kept.talk.close()
        await until(lambda: all_of_them.find("runs").code is not None)
        codes = [all_of_them.find(name).code for name in ("over", "told", "runs")]
        assert codes == [3, 0, 137]

    play(scene)


def test_of_a_running_command_that_nobody_may_take_over_any_more_the_end_is_told_all_the_same(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a"]})
        kept.says(taken("a"), *streams)
        all_of_them.take_over([kept.earlier])
        one = all_of_them.find("a")
        one.drop()  # its disk is full
        kept.says({"id": "a", "exit": 7})
        await asyncio.wait_for(one.ended.wait(), 10)
        assert one.code == 7
        await until(lambda: kept.heard()[-1:] == [None])

    play(scene)


def test_the_starter_hears_that_a_stream_is_all_in_its_file(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a"]})
        kept.says(taken("a"), *streams)
        all_of_them.take_over([kept.earlier])
        heard: list[dict[str, Any] | None] = []
        await until(lambda: heard.extend(kept.heard()) or {"op": "emptied", "id": "a", "stream": 0} in heard)

    play(scene)


@pytest.mark.parametrize("room", range(8))
def test_a_command_for_which_there_are_too_few_descriptors_leaves_none_behind(tmp_path, monkeypatch, room):
    class Home:
        record: dict[str, Any] = {"pid": 0}

        class folder:
            container_id, path = "sb-1", tmp_path

    async def scene(all_of_them: execs.Execs) -> None:
        before = descriptors()
        free = os.dup(0)
        os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + room, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                await all_of_them.begin(Home(), None, {"exec_id": "a", "command": ["true"]})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before and not all_of_them.running("sb-1")

    play(scene)


def test_too_many_descriptors_are_the_machines_fault_and_not_the_commands():
    refused = starting.Refused("Too many open files", errno.EMFILE)
    assert isinstance(execs._refusal(refused, {"command": ["true"]}), exception.ResourceExhaustedError)


def test_a_piece_of_input_that_is_sent_again_to_the_next_worker_is_not_written_again(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        given, _, file = streams
        first = execs.Exec("sb-1")
        first.input, first.spools["stdout"] = given, spools.Spool(os.dup(file), -1, keep=True)
        await first.write(b"one ", 0)
        await first.write(b"two ", 4)  # it is killed before anybody is answered
        kept.says({"id": "names", "names": ["a"]})
        kept.says(taken("a"), *streams)
        all_of_them.take_over([kept.earlier])
        one = all_of_them.find("a")
        await one.write(b"two three", 4)
        with pytest.raises(exception.InvalidError, match="continues at 13"):
            await one.write(b"x", 14)
        with open(f"/proc/self/fd/{streams[0]}", "rb", buffering=0) as pipe:
            assert pipe.read(100) == b"one two three"
        first.spools["stdout"].close()

    play(scene)


def test_what_nobody_noted_is_believed_of_who_writes(kept, streams):
    async def scene(all_of_them: execs.Execs) -> None:
        kept.says({"id": "names", "names": ["a"]})
        kept.says(taken("a"), *streams)  # of a release that noted nothing
        all_of_them.take_over([kept.earlier])
        one = all_of_them.find("a")
        await one.write(b"more", 1000)
        assert one.fed.written == 1004

    play(scene)


def typed(terminal: int, size: int) -> bytes:
    """The next bytes of it, which arrive a moment after they were written."""
    found = b""
    while len(found) < size:
        assert select.select([terminal], [], [], 10)[0]
        found += os.read(terminal, 100)
    return found


def test_the_end_of_a_terminals_input_is_typed_once_and_moves_nothing():
    async def scene() -> None:
        ours, theirs = os.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        one, file = execs.Exec("sb-1"), os.memfd_create("stdout")
        one.input = one.terminal = ours
        one.spools["stdout"] = spools.Spool(file, -1, keep=True)
        await one.write(b"a", 0)
        for _ in range(2):
            await one.end_input(1)  # again: nobody was answered
        await one.write(b"b", 1)
        assert typed(theirs, 3) == b"a\x04b"
        again = execs.Exec("sb-1")  # the next worker
        again.input, again.terminal, again.spools = one.input, one.terminal, one.spools
        again.fed.take_over(file)
        await again.end_input(1)
        await again.write(b"bc", 1)
        assert typed(theirs, 1) == b"c"
        os.close(theirs)
        await one.end_input(3)  # nobody reads any more
        await one.write(b"x", 2)
        os.close(ours)
        os.close(file)

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_the_input_of_a_sandboxs_own_command_goes_on_where_it_was(tmp_path):
    class Home:
        class folder:
            path = tmp_path

    async def scene() -> None:
        os.mkfifo(tmp_path / "stdin")
        reading = os.open(tmp_path / "stdin", os.O_RDONLY | os.O_NONBLOCK)
        first = service._Input(Home())
        await first.write(b"one ", 0)
        await first.write(b"two ", 4)
        after = service._Input(Home())
        await after.write(b"two three", 4)
        with pytest.raises(exception.InvalidError):
            await after.write(b"x", 99)
        for one in (first, after):
            one.close()
        assert os.read(reading, 100) == b"one two three"
        os.close(reading)

    asyncio.run(asyncio.wait_for(scene(), 20))
