"""Calls, inputs and outputs as the server handles them: small, because there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from windlass.kit import ids
from windlass.server.state import moves

if TYPE_CHECKING:
    from windlass.kit import tracing
    from windlass.server.state import machines, records

INDEX_BITS = 30
INDEX_MASK = (1 << INDEX_BITS) - 1
"""An input's key is its call's number and its index in one integer; an output's the call's number and its ``seq``."""

_PAIRS = [a + b for a in ids.ALPHABET for b in ids.ALPHABET]


def call_part(call_id: str) -> str:
    """What a call's id and the ids of its inputs have in common."""
    return call_id[3:19]


def input_id(part: str, index: int) -> str:
    return f"in-{part}{_PAIRS[index // 14776336]}{_PAIRS[index // 3844 % 3844]}{_PAIRS[index % 3844]}"


LARGE = 4096
"""Payloads above this many bytes have a row of their own, and stay there while they wait."""


class Data(NamedTuple):
    """A pickled value: ``inline`` bytes or a ``blob``."""

    inline: bytes | None
    blob: str | None
    size: int


NO_DATA = Data(None, None, 0)


class Output(NamedTuple):
    """A recorded end of an input, or an item. ``body`` holds the message but for payloads; None for a plain success."""

    seq: int
    idx: int
    status: moves.Status
    retries: int
    body: bytes | None
    data: Data


class Call:
    """A call in memory: live, or looked at by somebody."""

    __slots__ = (
        "cancelled",
        "cancelled_at",
        "client",
        "closed",
        "created_at",
        "done_at",
        "fresh",
        "function",
        "gaps",
        "held_back",
        "id",
        "in_memory",
        "kind",
        "method",
        "n",
        "next_index",
        "next_item",
        "next_seq",
        "num_done",
        "num_inputs",
        "parent",
        "part",
        "recorded",
        "trace",
        "transient",
        "watchers",
    )

    def __init__(
        self, *, n: int, identity: str, function: machines.Function, kind: moves.Kind, created_at: float
    ) -> None:
        self.n = n
        self.id = identity
        self.part = call_part(identity)
        self.function = function
        self.kind = kind
        self.method = ""
        """Which one, of a class."""
        self.client: str | None = None
        self.parent: int | None = None
        self.closed = False
        self.cancelled = False
        self.cancelled_at = 0.0
        self.fresh = False
        """Not yet a row: inserted, as it is then, when the database is changed next."""
        self.created_at = created_at
        self.done_at: float | None = None
        self.num_inputs = 0
        self.num_done = 0
        self.next_index = 0
        self.gaps = False
        """Whether some index below ``next_index`` has not arrived yet."""
        self.next_seq = 1
        self.next_item = 0
        self.in_memory = 0
        """Inputs of it that are queued in the window, delayed or leased."""
        self.transient = False
        """A web request: it has no rows, because it ends with the connection that it came by."""
        self.trace: tuple[tracing.Context, str] | None = None
        """Its span and that of whoever made it, where traces are exported."""
        self.recorded = 0
        """Failed attempts of it that have a record."""
        self.watchers: list[Any] = []
        self.held_back: list[Any] = []
        """Answers to runners that wait until the consumer of a generator has caught up."""

    @property
    def name(self) -> str:
        """What is called, as people read it."""
        spec = self.function.spec
        return f"{spec['class_name']}.{self.method}" if self.method else spec["tag"]

    @property
    def finished(self) -> bool:
        return self.closed and self.num_done >= self.num_inputs

    def key(self, index: int) -> int:
        return self.n << INDEX_BITS | index


class Input:
    """One unit of work, while it is queued in memory, delayed or leased."""

    __slots__ = (
        "answered",
        "attempt",
        "call",
        "container",
        "crashes",
        "data",
        "ended",
        "fresh",
        "id",
        "index",
        "leased_at",
        "not_before",
        "queued_at",
        "retries",
        "state",
        "usage",
    )

    def __init__(self, call: Call, index: int, data: Data) -> None:
        self.call = call
        self.index = index
        self.data = data
        self.id = input_id(call.part, index)
        self.state = moves.InputState.READY
        self.attempt = 0
        self.retries = 0
        self.crashes = 0
        self.container: machines.Container | None = None
        self.not_before = 0.0
        self.queued_at = 0.0
        """When it could have begun."""
        self.leased_at = 0.0
        self.usage: records.Usage | None = None
        """What its runner measured."""
        self.fresh = False
        """Not yet a row: inserted at the end of this turn."""
        self.ended: tuple[int, int] | None = None
        """Status and ``seq`` of its end, where that came before its row."""
        self.answered = False
        """Of a request: its whole response is here, but not yet the word that it is over."""

    def forget_large(self) -> None:
        """Do not hold a large payload while it waits: its row has it."""
        if self.data.size > LARGE and self.data.blob is None and not self.fresh:  # those of transient calls stay fresh
            self.data = Data(None, None, self.data.size)

    @property
    def key(self) -> int:
        return self.call.n << INDEX_BITS | self.index
