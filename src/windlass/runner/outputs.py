"""Outputs on their way: gathered while inputs are short, kept until the server has committed them, sent again.

    add ─► pending ─ flush ─► sent ─ answer ─► settled
              ▲                 │
              └── connection lost
"""
from __future__ import annotations

import _thread
import time

from windlass.wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from windlass.runner import link as link_module

    Key = tuple[str, int]

MANY = 64
"""Outputs that travel together."""
PAUSE = 0.002
"""Seconds for which an output may be held back while more are coming."""
_FRAME_BYTES = 8 * 1024 * 1024
_AHEAD, _AHEAD_BYTES = 256, 16 * 1024 * 1024  # of a generator, unanswered
_EAGER = 4  # messages under way above which a generator's items are gathered
_REFUSALS = 8  # in a row, after which there is no use in trying


class Entry:
    """One output. ``value`` is put where ``slot`` of the output says ("value" or "error", or "")."""

    __slots__ = ("final", "key", "output", "size", "slot", "value")

    def __init__(self, key: Key, output: dict[str, Any], value: bytes | None, slot: str) -> None:
        self.key = key
        self.output = output
        self.value = value
        self.slot = slot
        self.size = len(value) if value is not None else 0
        self.final = output["status"] != "item"


class Outputs:
    """``settled`` is called with the key of each attempt whose end the server has committed."""

    def __init__(self, link: link_module.Link, settled: Callable[[Key], object]) -> None:
        self._link = link
        self._settled = settled
        self._lock = _thread.allocate_lock()
        self._pending: list[Entry] = []
        self._sent: dict[int, list[Entry]] = {}
        self._batches = 0
        self._refused = 0
        self._since = 0.0
        self._unanswered = 0
        self._bytes = 0

    # -- main thread --------------------------------------------------------------------------------------

    def add(self, key: Key, output: dict[str, Any], value: bytes | None = None, slot: str = "") -> None:
        entry = Entry(key, output, value, slot)
        with self._lock:
            if not self._pending:
                self._since = time.monotonic()
            self._pending.append(entry)
            self._unanswered += 1
            self._bytes += entry.size

    def due(self, now: float) -> bool:
        pending = len(self._pending)
        return pending >= MANY or (pending > 0 and now - self._since >= PAUSE)

    def flush_items(self) -> bool:
        """Send a generator's items, or let them gather if many messages are under way; False when it must wait."""
        if len(self._sent) < _EAGER or len(self._pending) >= MANY:
            self.flush()
        return not self.crowded()

    def crowded(self) -> bool:
        return self._unanswered >= _AHEAD or self._bytes >= _AHEAD_BYTES

    # -- any thread ---------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> bool:
        return bool(self._pending or self._sent)

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    def flush(self) -> None:
        """Send what is pending; without a connection it stays."""
        if not self._pending or not self._link.up:
            return
        with self._lock:
            self._flush()

    def resend(self) -> None:
        """After a new connection: all that was never answered, in its order."""
        with self._lock:
            lost = [entry for batch in self._sent.values() for entry in batch]
            self._sent.clear()
            self._pending[:0] = lost
            self._flush()

    def discard(self, keys: set[Key]) -> None:
        """The server does not want these any more."""
        with self._lock:
            for entry in [entry for entry in self._pending if entry.key in keys]:
                self._pending.remove(entry)
                self._forget(entry)

    # -- inside (with the lock) -----------------------------------------------------------------------------

    def _flush(self) -> None:
        while self._pending and self._link.up:
            count = size = 0
            for entry in self._pending[:MANY]:
                count += 1
                size += entry.size
                if size > _FRAME_BYTES:
                    break
            batch = self._pending[:count]
            del self._pending[:count]
            self._send(batch)

    def _send(self, batch: list[Entry]) -> None:
        self._batches += 1
        number = self._batches
        attachments: list[codec.Bytes] = []
        for entry in batch:
            if entry.value is not None:
                place = {"at": len(attachments), "size": len(entry.value)}
                attachments.append(entry.value)
                (entry.output if entry.slot == "value" else entry.output["failure"])[entry.slot] = place
        self._sent[number] = batch
        self._link.request(
            "runner.outputs", {"outputs": [entry.output for entry in batch]}, attachments,
            answer=lambda header, _: self._answered(number, header),
        )  # fmt: skip

    def _answered(self, number: int, header: dict[str, Any]) -> None:
        if header["k"] == codec.ERROR:
            # The server could not commit, and is about to start again. Try with a new connection.
            self._refused += 1
            if self._refused > _REFUSALS:
                raise SystemExit(f"the server refuses results: {header.get('e')}")
            self._link.lose()
            return
        self._refused = 0
        with self._lock:
            batch = self._sent.pop(number, [])
            for entry in batch:
                self._forget(entry)
        for entry in batch:
            if entry.final:
                self._settled(entry.key)

    def _forget(self, entry: Entry) -> None:
        self._unanswered -= 1
        self._bytes -= entry.size
