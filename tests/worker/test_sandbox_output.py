"""The files in which the output of commands waits for its readers."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.sandboxes import spools


def play(scene) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


async def filling(spool: spools.Spool) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(spool.fill())


def test_a_reader_that_comes_late_gets_everything_and_may_ask_again(tmp_path: Path):
    async def scene() -> None:
        reading, writing = os.pipe()
        spool = spools.Spool(tmp_path, reading, keep=True)
        pump = await filling(spool)
        os.write(writing, b"one two")
        os.close(writing)
        await pump
        assert await spool.read(0, 3, 1) == (b"one", False)
        assert await spool.read(3, 100, 1) == (b" two", True)
        assert await spool.read(0, 100, 1) == (b"one two", True)
        assert await spool.read(7, 100, 1) == (b"", True)
        spool.close()
        spool.close()

    play(scene)


def test_a_reader_waits_for_what_is_to_come_but_not_for_ever(tmp_path: Path):
    async def scene() -> None:
        reading, writing = os.pipe()
        spool = spools.Spool(tmp_path, reading, keep=True)
        pump = await filling(spool)
        assert await spool.read(0, 10, 0.05) == (b"", False)
        waiting = asyncio.get_running_loop().create_task(spool.read(0, 10, 20))
        await asyncio.sleep(0)
        os.write(writing, b"x")
        assert await waiting == (b"x", False)
        os.close(writing)
        await pump

    play(scene)


def test_a_flood_that_nobody_reads_stops_at_the_limit_and_goes_on_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "_UNREAD", 1024 * 1024)
    monkeypatch.setattr(spools, "_ROUND", 1536 * 1024)

    async def scene() -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        spool = spools.Spool(tmp_path, reading, keep=True)
        pump = await filling(spool)
        written = 0

        async def flood() -> int:
            more, idle = 0, 0
            while idle < 20:
                try:
                    more += os.write(writing, b"z" * 65536)
                    idle = 0
                except BlockingIOError:
                    idle += 1
                await asyncio.sleep(0.002)
            return more

        written = await flood()
        assert 1024 * 1024 <= written < 3 * 1024 * 1024, written
        offset = 0
        while offset < written:
            data, _ = await spool.read(offset, 1 << 20, 1)
            offset += len(data)
        assert await flood() > 0, "it did not go on"
        with pytest.raises(exception.OutputExpiredError):
            await spool.read(offset + 1024 * 1024, 1, 0)
            await spool.read(0, 1, 0)
        pump.cancel()

    play(scene)


def test_what_nobody_wants_is_read_and_dropped(tmp_path: Path):
    async def scene() -> None:
        reading, writing = os.pipe()
        spool = spools.Spool(tmp_path, reading, keep=False)
        pump = await filling(spool)
        for _ in range(100):
            await asyncio.to_thread(os.write, writing, b"z" * 65536)
        os.close(writing)
        await pump
        assert await spool.read(0, 10, 0) == (b"", True)

    play(scene)


def test_a_terminal_is_read_to_its_end(tmp_path: Path):
    async def scene() -> None:
        master, slave = os.openpty()
        spool = spools.Spool(tmp_path, master, keep=True)
        pump = await filling(spool)
        os.write(slave, b"drawn")
        assert (await spool.read(0, 10, 5))[0] == b"drawn"
        os.close(slave)
        await pump
        assert (await spool.read(5, 10, 5)) == (b"", True)

    play(scene)


def test_output_is_whole_when_its_file_is_written_around(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "_UNREAD", 256 * 1024)
    monkeypatch.setattr(spools, "_ROUND", 400_001)  # no multiple of anything
    sent = random.Random(7).randbytes(3 * 1024 * 1024)

    async def scene() -> None:
        reading, writing = os.pipe()
        spool = spools.Spool(tmp_path, reading, keep=True)
        pump = await filling(spool)
        written = asyncio.create_task(asyncio.to_thread(write, writing))
        got, eof = b"", False
        while not eof:
            data, eof = await spool.read(len(got), 100_000, 5)
            got += data
        await written
        await pump
        assert got == sent

    def write(descriptor: int) -> None:
        with os.fdopen(descriptor, "wb") as file:
            file.write(sent)

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(6))
def test_a_worker_that_was_killed_lost_nothing_of_what_was_in_the_file(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(spools, "_UNREAD", 8192)
    monkeypatch.setattr(spools, "_BEHIND", 4096)
    monkeypatch.setattr(spools, "_ROUND", 12288)
    draw = random.Random(seed)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    spool, written, read = spools.Spool(tmp_path, reading, keep=True), b"", 0
    for _ in range(60):
        written += (piece := draw.randbytes(draw.randrange(1, 4096)))
        os.write(writing, piece)
        spool._take(os.splice if seed % 2 else None)  # and the rest is in the pipe
        if draw.random() < 0.5:
            spool = spools.Spool(os.dup(spool.file), reading, keep=True)  # the same open file, as in custody
        data, _ = asyncio.run(spool.read(read, 1 << 20, 0))
        assert data == written[read : read + len(data)]
        read += len(data)
        while len(written) - spool._size > 8192:
            spool._take(None)
    spool.close()


@pytest.mark.parametrize("step", ["before", "said", "moved", "done"])
def test_whenever_it_was_killed_at_the_end_of_the_file_the_size_is_known(tmp_path, monkeypatch, step):
    monkeypatch.setattr(spools, "_ROUND", 4096)
    reading, writing = os.pipe()
    os.write(writing, bytes(4096))
    spool = spools.Spool(tmp_path, reading, keep=True)
    assert spool._take(os.splice)[0] == 4096
    if step in ("said", "moved"):
        os.pwrite(spool.file, (1).to_bytes(8, "little"), 4096)
    if step == "moved":
        os.lseek(spool.file, 0, os.SEEK_SET)
    if step == "done":
        spools._begin_round(spool.file, 1)
    again = spools.Spool(spool.file, reading, keep=True)
    assert again._size == 4096
    os.write(writing, b"x" * 100)
    again._take(os.splice)
    third = spools.Spool(spool.file, reading, keep=True)
    assert third._size == 4196 and asyncio.run(third.read(4096, 100, 0)) == (b"x" * 100, False)
    third.close()
