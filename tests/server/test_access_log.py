"""Who asked what is written down without holding anybody up."""
from __future__ import annotations

import asyncio
import os
import time

import pytest

from windlass.server.ingress import access


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(access, "_EVERY", 0.01)


async def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def asked(log: access.Log, number: int) -> None:
    log.add("127.0.0.1", "label", "GET", f"/at/{number}", 200, 0.001)


def test_lines_come_in_the_order_of_requests_and_those_of_the_last_moment_too(tmp_path):
    path = tmp_path / "log" / "access.log"

    async def scene() -> None:
        log = access.Log(path)
        for number in range(50):
            asked(log, number)
            if number % 20 == 0:
                await until(lambda n=number: path.exists() and f"/at/{n}\"" in path.read_text())
        log.flush()

    asyncio.run(scene())
    assert [line.split()[5].strip('"') for line in path.read_text().splitlines()] == [f"/at/{n}" for n in range(50)]


def test_a_disk_that_makes_its_writers_wait_holds_up_no_request(tmp_path):
    path = tmp_path / "access.log"
    os.mkfifo(path)  # whoever opens it waits until somebody reads

    async def scene() -> str:
        log = access.Log(path)
        asked(log, 1)
        began = time.monotonic()
        await asyncio.sleep(0.05)
        asked(log, 2)
        assert time.monotonic() - began < 5
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            got = b""
            while b"/at/2" not in got:
                assert time.monotonic() - began < 10
                await asyncio.sleep(0.01)
                try:
                    got += os.read(reader, 4096)
                except BlockingIOError:  # nothing yet
                    continue
            return got.decode()
        finally:
            os.close(reader)

    text = asyncio.run(scene())
    assert text.index("/at/1") < text.index("/at/2")


def test_what_cannot_be_written_is_said_and_the_next_lines_are(tmp_path, caplog):
    path = tmp_path / "access.log"
    path.mkdir()

    async def scene() -> None:
        log = access.Log(path)
        asked(log, 1)
        await until(lambda: "1 lines of the access log could not be written" in caplog.text)
        path.rmdir()
        asked(log, 2)
        await until(path.exists)
        await until(lambda: "/at/2" in path.read_text())

    asyncio.run(scene())
