"""A line whose carriers break: what was written arrives once, in order, and the end arrives, too."""
from __future__ import annotations

import asyncio
import random

import pytest

from windlass import exception
from windlass.wire import tether


class End(asyncio.Protocol):
    """What arrives at one end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.paused = self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Carrier:
    """Puts messages of one end into a list: they are lost with it, or delivered later."""

    def __init__(self, line: tether.Tether, sent: int) -> None:
        self.line, self.sent = line, sent
        self.waiting: list[bytes] = []

    def wake(self) -> None:
        while True:
            message, self.sent = self.line.message(self.sent, 100)
            self.waiting.append(message)
            if self.sent >= self.line.end:
                return

    def drop(self) -> None:
        self.line.detach(self)


def joined(left: tether.Tether, right: tether.Tether) -> tuple[Carrier, Carrier]:
    one, two = Carrier(left, right.got), Carrier(right, left.got)
    left.attach(one, right.got)
    right.attach(two, left.got)
    return one, two


def pair() -> tuple[tether.Tether, tether.Tether]:
    left, right = tether.Tether(End()), tether.Tether(End())
    left.begin()
    right.begin()
    return left, right


def run(scene):
    async def main():
        scene()
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_with_broken_carriers_arrives_once_and_in_order(seed):
    def scene():
        chance, (left, right) = random.Random(seed), pair()
        said = {left: bytearray(), right: bytearray()}
        one, two = joined(left, right)
        for _ in range(300):
            what = chance.random()
            line = chance.choice((left, right))
            if what < 0.5:
                data = chance.randbytes(chance.choice((1, 10, 350)))
                said[line] += data
                line.write(data)
            elif what < 0.9:
                carrier, other = chance.choice(((one, right), (two, left)))
                if carrier.waiting:
                    other.take(tether.Piece(carrier.waiting.pop(0)))
            else:
                one.drop()
                two.drop()
                one, two = joined(left, right)
        left.close()
        for carrier, other in ((two, left), (one, right)):
            while carrier.waiting:
                other.take(tether.Piece(carrier.waiting.pop(0)))
        assert right._protocol.data == said[left]
        assert said[right].startswith(left._protocol.data)
        assert right.over

    run(scene)


def test_a_writer_is_held_back_until_the_other_end_has_confirmed():
    def scene():
        left, right = pair()
        left.set_write_buffer_limits(high=1000)
        left.write(b"x" * 1001)
        assert left._protocol.paused
        one, two = joined(left, right)
        while one.waiting:
            right.take(tether.Piece(one.waiting.pop(0)))
        assert left._protocol.paused
        right.write(b"!")
        for message in two.waiting:
            left.take(tether.Piece(message))
        assert not left._protocol.paused
        assert left.get_write_buffer_size() == 0

    run(scene)


def test_gaps_and_confirmations_of_what_was_never_sent_are_refused():
    def scene():
        left, _ = pair()
        with pytest.raises(exception.InvalidError):
            left.take(tether.Piece(tether.HEAD.pack(tether.DATA, 5, 0) + b"x"))
        with pytest.raises(exception.InvalidError):
            left.take(tether.Piece(tether.HEAD.pack(tether.DATA, 0, 9)))
        for malformed in (b"", b"short", b"\x07" + bytes(16)):
            with pytest.raises(exception.InvalidError):
                tether.Piece(malformed)

    run(scene)
