"""Items that are a program's as soon as it has them: what is remembered of them until it has said so.

A getter on this machine writes its confirmation into the socket before it gives the item to its program, and does not
wait for the answer. For that the hand is a row, written with the commit after which the item is sent:

    row of the item ──► row of the hand, commit ──► sent ──► confirmation in the socket ──► both rows deleted
                              │                                        │
                              └── no word: the item is kept ◄──────────┘ not read: connection lost, server killed

Kept is an item until it is known what became of it:

    the program confirms       on this connection or, again and again, on a later one      it was its own
    it asks again              with the ticket of that get, or gives it up (``leave``)     it goes to the next in line
    it has ended               what it had written into the socket was read before         the same

So who is killed before the confirmation is in the socket has not given the item to anybody, and loses none; and what is
in the socket is read though the writer is dead (``link.keep_end``). A getter that is alive, but not heard, keeps its
item: nobody else gets it. Only where server and getter are both killed, after the getter has given the item to its
program and before the server has read that it did, the item goes to another one, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from windlass.server.apply import core as core_module
from windlass.server.bus import link, programs
from windlass.server.state import queues as state
from windlass.server.store import queues

Core = core_module.Core


class Kept:
    """Items that were handed to the get of that ticket. ``link``: the connection by which they were sent."""

    __slots__ = ("client", "content", "link", "owner", "part", "seqs", "ticket")

    def __init__(self, part: state.Part, content: int, seqs: list[int], client: str, ticket: str) -> None:
        self.part = part
        self.content = content
        self.seqs = seqs
        self.client = client
        self.ticket = ticket
        self.owner: programs.Process | None = None
        self.link: link.Link | None = None


def keep(core: Core, kept: Kept, owner: programs.Process) -> None:
    """Write it down; items are sent after the commit."""
    core.turn.begin()
    kept.owner = owner
    core.queues.kept[kept.client, kept.ticket] = kept
    queues.keep(core.db, kept.client, kept.ticket, kept.content, kept.seqs, owner)


def is_open(core: Core, kept: Kept) -> bool:
    """Whether nobody knows yet what became of it."""
    found: Kept | None = core.queues.kept.get((kept.client, kept.ticket))
    return found is kept


def take(core: Core, kept: Kept) -> None:
    """The program has them: they leave the queue."""
    _forget(core, kept)
    queues.delete(core.db, kept.content, kept.seqs)
    if kept.content == kept.part.n:
        kept.part.held.difference_update(kept.seqs)
        kept.part.count -= len(kept.seqs)


def release(core: Core, kept: Kept) -> bool:
    """The program has not got them, and never will. Whether they are free now."""
    if not is_open(core, kept):
        return False
    _forget(core, kept)
    if kept.content != kept.part.n:
        return False
    kept.part.held.difference_update(kept.seqs)
    kept.part.first = min(kept.part.first, kept.seqs[0])
    return True


def _forget(core: Core, kept: Kept) -> None:
    core.turn.begin()
    del core.queues.kept[kept.client, kept.ticket]
    queues.let_go(core.db, kept.client, kept.ticket)


def watch(core: Core, kept: Kept, ended: Callable[[Kept], None]) -> None:
    """Nothing is heard of the program: wait until it speaks, or has ended."""
    kept.link = None
    assert kept.owner is not None
    core.ends.tell(kept.owner, functools.partial(ended, kept))


def load(core: Core, part_of: Callable[[int, bytes], state.Part]) -> list[Kept]:
    """Those of before the start. What was in partitions that were emptied since is forgotten."""
    found = []
    for row in queues.kept(core.db):
        if row.queue is None or row.key is None:
            core.turn.begin()
            queues.let_go(core.db, row.client, row.ticket)
            continue
        part = part_of(row.queue, row.key)
        kept = Kept(part, row.part, row.seqs, row.client, row.ticket)
        kept.owner = programs.Process(row.process, row.began)
        core.queues.kept[row.client, row.ticket] = kept
        part.held.update(row.seqs)
        found.append(kept)
    return found
