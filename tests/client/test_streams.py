"""Readers of commands' output: what their items are, and who pays for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from windlass import exception, io_streams
from windlass.client import bridge


class Output:
    """Output that is there already, in pieces."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    async def pieces(self, offset: int) -> AsyncGenerator[bytes, None]:
        for part in self.parts:
            if offset < len(part):
                yield part[offset:]
            offset = max(0, offset - len(part))


def reader(*parts: bytes, by_line: bool = True, text: bool = True) -> io_streams.StreamReader[Any]:
    return io_streams.StreamReader(Output(*parts), 1, text=text, by_line=by_line)


def test_lines_that_came_together_cost_one_trip_to_the_loop(monkeypatch):
    trips, real = [], bridge.run
    monkeypatch.setattr(bridge, "run", lambda coro: trips.append(None) or real(coro))
    assert len(list(reader(b"line\n" * 10_000, b"and more\n" * 10_000))) == 20_000
    assert len(trips) <= 5


def test_lines_are_whole_wherever_the_pieces_end_and_the_last_needs_no_end():
    lines = ["eins\n", "zw\u00f6lf\n", "\n", "carriage\rreturn\n", "rest"]
    data = "".join(lines).encode()
    for cut in range(len(data)):
        assert list(reader(data[:cut], data[cut:])) == lines
    assert list(reader(*(bytes([one]) for one in data))) == lines


def test_iterators_share_one_position_with_reading_and_the_end_stays_the_end():
    output = reader(b"one\ntwo\nthree\nfo", b"ur\n")
    assert next(iter(output)) == "one\n"
    assert next(output) == "two\n"
    assert output.read() == "three\nfour\n"
    assert (output.read(), list(output)) == ("", [])


def test_asynchronous_iteration_goes_on_where_the_other_stopped():
    output = reader(b"one\ntwo\nthree\n")
    next(output)

    async def rest() -> list[str]:
        async for line in output:
            with pytest.warns(exception.AsyncUsageWarning, match=r"__iter__\.aio"):
                iter(output)
            return [line, *[line async for line in output.__iter__.aio()]]
        return []

    assert asyncio.run(rest()) == ["two\n", "three\n"]


def test_half_a_character_at_the_end_is_an_error_and_bytes_come_as_they_are():
    with pytest.raises(UnicodeDecodeError):
        reader(b"caf\xc3", by_line=False).read()
    assert reader(b"caf\xc3", b"\n", by_line=False, text=False).read() == b"caf\xc3\n"
