"""What the runner holds: leased inputs, the one that runs, and what the server said about them.

    lease ─► queue ─► running ─► outputs ─ committed ─► gone
               └──── release (given back, never begun)

The main thread takes from the queue; notices arrive in the thread that reads. Each step is one atomic operation on a
deque, a dict or an attribute, so none needs a lock.
"""
from __future__ import annotations

import collections
import math
import time

from windlass.runner import interrupts as interrupts_module
from windlass.runner import outputs as outputs_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from windlass.runner import link as link_module

    class Unit(Protocol):
        """What runs at once: an input, or a batch of them."""

        @property
        def leases(self) -> tuple[Lease, ...]: ...


class Lease:
    """One attempt at one input."""

    __slots__ = (
        "attempt", "began", "blob", "call_id", "cancelled", "data", "dropped", "ended", "input_id", "key", "method",
        "size", "stream", "traceparent",
    )  # fmt: skip

    def __init__(self, body: dict[str, Any], attachments: list[bytes]) -> None:
        self.input_id: str = body["input_id"]
        self.call_id: str = body["call_id"]
        self.method: str = body.get("method", "")
        self.traceparent: str = body.get("traceparent", "")
        self.attempt: int = body["attempt"]
        payload = body["payload"]
        at = payload.get("at")
        self.data: bytes | None = None if at is None else attachments[at]
        self.blob: str = payload.get("blob", "")
        self.size: int = payload.get("size", 0)
        self.key = (self.input_id, self.attempt)
        self.began: float | None = None
        """What ``usage.begin`` said when its user code began."""
        self.cancelled = False
        self.dropped = False
        """No longer ours: its result interests nobody."""
        self.stream: outputs_module.Outputs | None = None
        """Its own way for outputs, where a generator must not hold up others."""
        self.ended: Callable[[float, bool], None] | None = None
        """Says that it has ended, and whether it succeeded, where a lease came another way than by the link."""

    @property
    def held(self) -> dict[str, Any]:
        return {"input_id": self.input_id, "attempt": self.attempt}

    @property
    def leases(self) -> tuple[Lease, ...]:
        """What runs is a unit of leases: a batch, or one alone."""
        return (self,)



class Work:
    def __init__(self, link: link_module.Link) -> None:
        self._link = link
        self.interrupts = interrupts_module.Interrupts(self._stopped_by_signal)
        self.outputs = outputs_module.Outputs(link, self.settled)
        self.queue: collections.deque[Lease] = collections.deque()
        self.held: dict[tuple[str, int], Lease] = {}
        """All that the server thinks is here, until it has committed its end."""
        self.running: Unit | None = None
        self.started = 0.0
        self.untimed = False
        """Somebody sits at its terminal: what runs has no timeout."""
        self.stopping = ""
        """"", "graceful" or "now"."""
        self.die_at = math.inf
        """When the process ends whatever user code does."""
        self.grace = 30.0
        """Seconds between being asked to end and that."""
        self.last_words = ""
        """What the log says then."""
        self.interrupt: Callable[..., None] = self.interrupts.request
        """How one that runs is interrupted."""
        self.news: Callable[[], None] = lambda: None
        """Called by the reader after each notice."""
        self.streams: dict[tuple[str, int], outputs_module.Outputs] = {}
        """Of generators that have one."""
        self.phases: dict[str, float] = {}
        """Seconds that the start took, by what it did."""
        self.slots: int | None = None
        """How many inputs user code wants at once, once it has said so."""
        link.connected = self.announce
        link.notice = self._notice

    # -- the reader ---------------------------------------------------------------------------------------

    def announce(self) -> None:
        """After each hello: what is here, and results that may not have arrived."""
        body: dict[str, Any] = {"held": self.listed(), "phases": self.phases}
        if self.slots is not None:
            body["slots"] = self.slots
        self._link.request("runner.ready", body, answer=self._ready)
        for outputs in self.ways():
            outputs.resend()

    def ways(self) -> list[outputs_module.Outputs]:
        """Of all outputs."""
        return [self.outputs, *list(self.streams.values())]

    @property
    def unsettled(self) -> bool:
        """Whether there is anything that the server has not committed."""
        return any(outputs.unsettled for outputs in self.ways())

    def flush(self) -> None:
        for outputs in self.ways():
            outputs.flush()

    def listed(self) -> list[dict[str, Any]]:
        return [lease.held for lease in list(self.held.values())]

    def _ready(self, header: dict[str, Any], _: list[bytes]) -> None:
        dropped = {(item["input_id"], item["attempt"]) for item in (header.get("b") or {}).get("drop", ())}
        if "e" in header:
            self._link.lose()
        else:
            self._link.healthy()
        for key in dropped:
            lease = self.held.pop(key, None)
            if lease is not None:
                lease.dropped = True
                self.interrupt(lease, interrupts_module.CANCEL, "the input runs elsewhere now")
        if dropped:
            for outputs in self.ways():
                outputs.discard(dropped)
            for key in dropped:
                self.streams.pop(key, None)

    def _notice(self, method: str, body: dict[str, Any], attachments: list[bytes]) -> None:
        if method == "runner.lease":
            for item in body["leases"]:
                lease = Lease(item, attachments)
                if lease.key not in self.held:
                    self.held[lease.key] = lease
                    self.queue.append(lease)
            if self.stopping:
                self.release()
        elif method == "runner.cancel":
            for item in body["inputs"]:
                self._cancel((item["input_id"], item["attempt"]))
        elif method == "runner.stop":
            self.stop(graceful=body.get("graceful", False), grace=body.get("grace", 30.0))
        self.news()

    def _cancel(self, key: tuple[str, int]) -> None:
        lease = self.held.get(key)
        if lease is not None:
            # First the mark, then the request: if it is about to begin, the main thread sees the mark.
            lease.cancelled = True
            self.interrupt(lease, interrupts_module.CANCEL)

    def stop(self, *, graceful: bool, grace: float) -> None:
        if self.stopping == "now":
            return
        self.stopping = "graceful" if graceful else "now"
        self.grace = grace
        if not graceful:
            self.die_at = min(self.die_at, time.monotonic() + grace)
            self.interrupts.stop()

    def _stopped_by_signal(self) -> None:
        self.stopping = "now"

    def settled(self, key: tuple[str, int]) -> None:
        """The server has committed how it ended."""
        self.held.pop(key, None)
        self.streams.pop(key, None)

    # -- any thread ---------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give back what has not begun."""
        released = []
        while True:
            try:
                released.append(self.queue.pop())
            except IndexError:
                break
        self.give_back(released)

    def give_back(self, leases: Iterable[Lease]) -> None:
        """Give back what was not begun, or interrupted by no fault of its own."""
        held = [lease.held for lease in leases if self.held.pop(lease.key, None) is not None and not lease.dropped]
        if held:
            self._link.request("runner.release", {"inputs": held, "leaving": bool(self.stopping)})

    def take_no_more(self) -> None:
        """Until something that is here has ended."""
        self._link.request("runner.release", {"inputs": []})

    def limit(self, slots: int) -> None:
        """User code wants so many inputs at once, no more."""
        self.slots = slots
        self._link.request("runner.slots", {"slots": slots})

    def stop_fetching(self) -> None:
        """User code wants no input after those that run."""
        self.stopping = self.stopping or "graceful"
        self._link.request("runner.release", {"inputs": [], "leaving": True})
        self.release()
