"""Queues: items are rows; getters wait in line, and the first of them gets the next item.

An item is handed out once, and only when its delivery is certain:

    row ── handed over ──► held (in memory) ── confirmed by the getter ──► row deleted, commit, "it is yours"
     ▲                         │
     └── exchange ended, connection lost, server killed ──┘

A getter gives an item to its program only after "it is yours". Whatever happens before, the row is still there, and the
item goes to the next in line, at its old place. Confirming may be repeated (``receipts``): a getter that lost its
connection in the middle learns whether the item was its own. So an item can be lost only together with the program that
has already got it, and never reaches two.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from windlass import exception
from windlass.server.apply import collections as collection_actions
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.decide import collections as decisions
from windlass.server.state import queues as state
from windlass.server.store import collections, queues
from windlass.wire import peer

Core = core_module.Core
_HAND_BYTES = 8 * 1024 * 1024
_PAGE = 512
_PAGE_BYTES = 1024 * 1024
_WALK = 1000


# -- partitions


def part_of(core: Core, queue: int, key: bytes) -> state.Part:
    """A partition, known from its row or new."""
    part = core.queues.find(queue, key)
    if part is None:
        part = state.Part(queue, key)
        if (row := queues.partition(core.db, queue, key)) is not None:
            part.n, part.expires_at, part.next = row.n, row.expires_at, row.next
            part.count = queues.count(core.db, row.n)
        core.queues.add(part)
    if part.n and part.expires_at <= core.clock.now():
        empty_part(core, part)
    return part


def empty_part(core: Core, part: state.Part) -> None:
    """Nothing is in it any more. What was handed over before may still be confirmed."""
    if not part.count:
        return
    core.turn.begin()
    collections.drop_content(core.db, part.n)
    part.n = collections.new_content(core.db, "partition")
    part.count, part.first = 0, part.next
    part.held.clear()
    _write(core, part)
    stir(core, part)


def empty_queue(core: Core, row: collections.Row) -> None:
    """All partitions at once; those who wait go on waiting."""
    parts = core.queues.take(row.content)
    content = collection_actions.renew(core, row)
    collections.drop_content(core.db, row.content)
    for part in parts:
        if not part.idle:
            part.queue, part.n, part.count, part.first = content, 0, 0, part.next
            part.held.clear()
            core.queues.add(part)
            stir(core, part)


def _deleted(core: Core, content: int) -> None:
    """Whoever deals with a queue that is gone hears it."""
    error = exception.NotFoundError("the queue was deleted")
    for part in core.queues.take(content):
        for one in (*part.waiters, *part.room, *part.reserved, *part.followers):
            one.incoming.on_cancel = None
            core.turn.after.append(functools.partial(one.incoming.fail, error))
        for line in (part.waiters, part.room, part.reserved, part.followers):
            line.clear()


collection_actions.EMPTIED.append(_deleted)


def _write(core: Core, part: state.Part) -> None:
    queues.write_partition(core.db, queues.Partition(part.queue, part.key, part.n, part.expires_at, part.next))


# -- putting


def put(core: Core, part: state.Part, values: list[bytes], ttl: float) -> bool:
    """Append all of them, or none where there is no room."""
    if not decisions.fits(part.count, len(values)):
        return False
    if not part.n:
        _check_partitions(core, part.queue)
        part.n = collections.new_content(core.db, "partition")
    queues.insert(core.db, part.n, part.next, values)
    part.count += len(values)
    part.next += len(values)
    part.expires_at = core.clock.now() + ttl
    _write(core, part)
    stir(core, part)
    return True


def _check_partitions(core: Core, queue: int) -> None:
    """Count one more partition, unless there are too many."""
    known = core.queues.partitions
    if queue not in known:
        known[queue] = queues.count_partitions(core.db, queue)
    if known[queue] >= decisions.MOST_PARTITIONS:
        _forget_idle(core, queues.idle_partitions(core.db, queue, core.clock.now(), _WALK))
    if known[queue] >= decisions.MOST_PARTITIONS:
        raise exception.ResourceExhaustedError(f"a queue has at most {decisions.MOST_PARTITIONS:,} partitions")
    known[queue] += 1


def _forget_idle(core: Core, rows: list[queues.Partition]) -> None:
    for row in rows:
        part = core.queues.find(row.queue, row.key)
        if part is not None and not part.idle:
            if part.expires_at <= core.clock.now():
                empty_part(core, part)
            continue
        if part is not None:
            core.queues.remove(part)
        collections.drop_content(core.db, row.n)
        queues.forget_partition(core.db, row)
        if row.queue in core.queues.partitions:
            core.queues.partitions[row.queue] -= 1


def stir(core: Core, part: state.Part) -> None:
    """Look, after the commit, who can go on."""
    if not part.stirred:
        part.stirred = True
        core.turn.begin()
        core.turn.after.append(lambda: _stirred(core, part))


def _stirred(core: Core, part: state.Part) -> None:
    part.stirred = False
    serve(core, part)
    for follower in part.followers[:]:
        follower.pump()
    tell_room(part)


def tell_room(part: state.Part) -> None:
    """Tell those who wait for room, in order, as far as it goes."""
    taken = sum(part.reserved.values())
    while part.room and decisions.fits(part.count + taken, part.room[0].count):
        first = part.room.popleft()
        taken += first.count
        part.reserved[first] = first.count
        first.incoming.item({})


class Putter:
    """One open ``queue.room``."""

    def __init__(self, part: state.Part, incoming: peer.Incoming, count: int) -> None:
        self.part = part
        self.incoming = incoming
        self.count = count
        incoming.on_cancel = self._leave
        part.room.append(self)
        tell_room(part)

    def _leave(self) -> None:
        if self.part.reserved.pop(self, None) is None:
            self.part.room.remove(self)
        tell_room(self.part)


# -- getting


class Getter:
    """One open ``queue.get``: waits in line, then has a hand full of items until it confirms them."""

    def __init__(self, core: Core, part: state.Part, incoming: peer.Incoming, *, count: int, wait: bool) -> None:
        self.core = core
        self.part = part
        self.incoming = incoming
        self.link: link.Link = incoming.peer  # type: ignore[assignment]
        self.count = count
        self.wait = wait
        self.content = 0
        self.hand = ""
        self.seqs: list[int] = []

        incoming.on_cancel = self._leave
        part.waiters.append(self)

    def start(self) -> None:
        """Look for the first time: not before the commit of what happened earlier."""
        serve(self.core, self.part)
        if not self.wait and not self.hand and self.incoming.open:
            self.part.waiters.remove(self)
            self.incoming.on_cancel = None
            self.incoming.end()

    def give(self, found: list[tuple[int, bytes]]) -> None:
        self.hand, self.content = self.core.queues.new_hand(self.core.server_id), self.part.n
        self.seqs = [seq for seq, _ in found]
        self.core.queues.hands[self.hand] = self
        self.incoming.item({"hand": self.hand, "part": self.content, "seqs": self.seqs}, [value for _, value in found])

    def _leave(self) -> None:
        """The exchange is over and nothing was confirmed: what it holds goes to the next in line."""
        if not self.hand:
            self.part.waiters.remove(self)
        elif self.core.queues.hands.pop(self.hand, None) is not None and self.content == self.part.n:
            self.part.held.difference_update(self.seqs)
            self.part.first = min(self.part.first, self.seqs[0])
            serve(self.core, self.part)


def serve(core: Core, part: state.Part) -> None:
    """Hand over what is free, first come, first served. What is not committed is not handed over."""
    if core.turn.is_open:
        stir(core, part)
        return
    links: dict[link.Link, None] = {}
    while part.waiters and part.free:
        getter = part.waiters[0]
        found = _next(core, part, getter.count)
        if not found:
            break
        part.waiters.popleft()
        part.held.update(seq for seq, _ in found)
        part.first = found[-1][0] + 1
        getter.give(found)
        links[getter.link] = None
    for one in links:
        one.flush()  # before the putter hears that it has put: it can wait better than who waits for the item


def _next(core: Core, part: state.Part, count: int) -> list[tuple[int, bytes]]:
    """The next free items: as many as were asked for, but no more than one message carries."""
    found: list[tuple[int, bytes]] = []
    size = 0
    rows = queues.items(core.db, part.n, part.first)
    for seq, value in rows:
        if seq in part.held:
            continue
        found.append((seq, value))
        size += len(value)
        if len(found) >= count or size > _HAND_BYTES:
            break
    _close(rows)
    return found


def _close(rows: Iterator[Any]) -> None:
    rows.close()  # type: ignore[attr-defined]


def take(core: Core, hand: str, client: peer.Peer) -> bool:
    """The getter confirms; False when what it had has gone back, so that somebody else may have it."""
    getter: Getter | None = core.queues.hands.get(hand)
    if getter is None or getter.incoming.peer is not client:
        return False
    del core.queues.hands[hand]
    part = getter.part
    queues.delete(core.db, getter.content, getter.seqs)
    if getter.content == part.n:
        part.held.difference_update(getter.seqs)
        part.count -= len(getter.seqs)
    getter.incoming.on_cancel = None
    core.turn.after.append(getter.incoming.end)
    if part.room:
        stir(core, part)
    return True


def back(core: Core, part: state.Part, seqs: list[int], values: list[bytes]) -> None:
    """Items that were taken go where they were, unless the partition was emptied since."""
    for seq, value in zip(seqs, values, strict=True):
        if 0 < seq < part.next and queues.insert_again(core.db, part.n, seq, value):
            part.count += 1
            part.first = min(part.first, seq)
    stir(core, part)


# -- looking


class Reader:
    """One open ``queue.look``: sends pages as long as the connection takes more, then waits for items to come."""

    def __init__(self, core: Core, part: state.Part, incoming: peer.Incoming, *, after: int, follow: bool) -> None:
        self._core = core
        self._part = part
        self._after = after
        self._follow = follow
        self._link: link.Link = incoming.peer  # type: ignore[assignment]
        self.incoming = incoming
        incoming.on_cancel = self._leave
        part.followers.append(self)

    def pump(self) -> None:
        while self.incoming.open:
            if self._core.turn.is_open:
                stir(self._core, self._part)
                return
            if not self._link.writable:
                self._link.waiting.append(self.pump)
                return
            values = self._read()
            if values:
                self.incoming.item({"last": self._after}, values)
                self._link.flush()
            elif self._follow:
                return
            else:
                self._leave()
                self.incoming.end()

    def _read(self) -> list[bytes]:
        values: list[bytes] = []
        size = 0
        rows = queues.items(self._core.db, self._part.n, self._after + 1)
        for seq, value in rows:
            values.append(value)
            self._after = seq
            size += len(value)
            if len(values) >= _PAGE or size > _PAGE_BYTES:
                break
        _close(rows)
        return values

    def _leave(self) -> None:
        if self in self._part.followers:
            self._part.followers.remove(self)


# -- upkeep


class Walk:
    """Goes round all partitions, and takes out those that have expired."""

    def __init__(self) -> None:
        self._behind: tuple[int, bytes] = (0, b"")

    def step(self, core: Core) -> None:
        rows, now = queues.walk(core.db, self._behind, _WALK), core.clock.now()
        gone = [row for row in rows if row.expires_at <= now]
        if gone:
            core.turn.begin()
            _forget_idle(core, gone)
        last = rows[-1] if len(rows) == _WALK else None
        self._behind = (last.queue, last.key) if last is not None else (0, b"")
