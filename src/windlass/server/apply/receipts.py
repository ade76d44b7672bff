"""Operations that a client may repeat when it did not hear the answer, after a lost connection or a killed server.

A client numbers what it asks for. The answer is written in the transaction of the change itself, and stays until the
client's lowest open number has gone past it; so a repeated operation is answered with what it did, and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from windlass.server.apply import blobs
from windlass.server.apply import core as core_module
from windlass.server.state import work
from windlass.server.store import receipts
from windlass.wire import codec, peer

Core = core_module.Core
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
_SOME = 32
KEEP = 900.0
"""Seconds. Longer than a client goes on repeating (``client.session.RESTART_PATIENCE``)."""


def once(
    core: Core, client: str, body: Any, incoming: peer.Incoming, act: Callable[[], tuple[Any, work.Data | None]]
) -> None:
    """Answer with what ``act`` did, now or when it was asked for the first time. It returns an answer and a value."""
    op: int = body["op"]
    core.turn.begin()
    seen = core.receipts.get(client)
    if seen is None:
        seen = core.receipts[client] = Seen(receipts.highest(core.db, client))
    known = receipts.find(core.db, client, op) if op <= seen.highest else None
    if known is None:
        answer, data = act()
        written = receipts.Receipt(_encode(answer).decode(), data or work.NO_DATA)
        _forget(core, client, seen, body["low"])
        receipts.insert(core.db, client, op, written, core.clock.now())
        seen.highest = max(seen.highest, op)
        seen.size += written.data.size
    else:
        answer, data = _decode(known.answer), known.data
    attachments: list[codec.Bytes] = []
    if data is not None and data != work.NO_DATA:
        answer["value"] = payload(data, attachments)
    core.turn.answer(incoming, answer, attachments)


class Seen:
    """What is known of a client's receipts, so that most operations need not look for any."""

    __slots__ = ("highest", "low", "size")

    def __init__(self, highest: int) -> None:
        self.highest = highest
        """No operation with a higher number was done."""
        self.low = 0
        """Receipts below are forgotten."""
        self.size = 1
        """Bytes of values that they hold, or hold a blob for."""


def _forget(core: Core, client: str, seen: Seen, low: int) -> None:
    """Let receipts go that the client has got past: several at a time, but values at once."""
    if low > seen.low and (seen.size or low - seen.low >= _SOME):
        blobs.drop(core, receipts.forget_seen(core.db, client, low))
        seen.low, seen.size = low, 0


def lost(core: Core, client: str) -> None:
    """The client's connection is gone; its receipts stay."""
    core.receipts.pop(client, None)


def payload(data: work.Data, attachments: list[codec.Bytes]) -> dict[str, Any]:
    """A value as it travels; its bytes are added to ``attachments``."""
    if data.inline is None:
        return {"blob": data.blob, "size": data.size}
    attachments.append(data.inline)
    return {"at": len(attachments) - 1, "size": data.size}
