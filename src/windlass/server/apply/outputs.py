"""Telling callers: each open stream of outputs is a watcher with a position in the call's sequence.

A watcher that has everything gets fresh outputs straight from memory at the end of the turn; one that is behind,
because it just came or its connection is full, reads rows until it has caught up.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.server.apply import calls as call_actions
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.state import moves, work
from windlass.server.store import calls, inputs
from windlass.wire import codec, peer

Core = core_module.Core
_decode = msgspec.json.decode
_NAMES = {status: status.name.lower() for status in moves.Status}
_MAX_ROWS = 512
_MAX_BYTES = 4 * 1024 * 1024
AHEAD = 1024
"""Items that a generator may be ahead of its consumer."""


class Watcher:
    """One caller's stream. ``wanted``: indexes it waits for, None for all."""

    __slots__ = ("call", "core", "incoming", "known", "link", "over", "position", "wait", "wanted")

    def __init__(
        self, core: Core, call: work.Call, incoming: peer.Incoming, *, after: int = 0, wait: bool = True
    ) -> None:
        self.core = core
        self.call = call
        self.incoming = incoming
        self.link: link.Link = incoming.peer  # type: ignore[assignment]
        self.position = after
        self.wanted: set[int] | None = None
        self.known: list[work.Output] = []
        """Outputs read ahead, to be sent first whatever their position."""
        self.wait = wait
        self.over = False

    def attach(self) -> None:
        """From now on the call is kept in memory and its news come here."""
        self.call.watchers.append(self)
        self.incoming.on_cancel = self.stop

    def start(self) -> None:
        """Send what is there; call after the commit of what the caller did."""
        known, self.known = self.known, []
        if known and not self.over:
            self._send(known, self.position)
        self.pump()

    def stop(self) -> None:
        if not self.over:
            self.over = True
            self.call.watchers.remove(self)
            call_actions.release(self.core, self.call)

    def push(self, fresh: list[work.Output]) -> None:
        """Take what this turn brought."""
        if self.over or self.known:  # what it knows goes first: ``start`` comes later in this very turn
            return
        if not fresh:
            self._finish_if_done()
        elif fresh[0].seq == self.position + 1 and self.link.writable and len(fresh) <= _MAX_ROWS:
            self._send(fresh)
        else:
            self.pump()

    def pump(self) -> None:
        """Read rows until there are no more or the connection is full."""
        while not self.over:
            if not self.link.writable:
                self.link.waiting.append(self.pump)
                return
            if self.position + 1 >= self.call.next_seq:
                break
            rows = inputs.outputs_after(self.core.db, self.call.n, self.position, _MAX_ROWS)
            if not rows:
                self.position = self.call.next_seq - 1
                break
            self._send(rows)
        if not self.over:
            self._finish_if_done()
        if self.call.held_back:
            release_held_back(self.core, self.call)

    def _finish_if_done(self) -> None:
        if self.position + 1 >= self.call.next_seq and self._satisfied():
            self._end([], [])

    def _satisfied(self) -> bool:
        if not self.wait or self.call.done_at is not None:
            return True
        return self.wanted is not None and not self.wanted

    def _send(self, outputs: list[work.Output], position: int | None = None) -> None:
        """Send what is wanted of ``outputs``; they end at ``position`` of the call's sequence, if not at their last."""
        messages: list[dict[str, Any]] = []
        attachments: list[codec.Bytes] = []
        size = 0
        self.position = outputs[-1].seq if position is None else position
        for output in outputs:
            if self.wanted is not None:
                if output.idx not in self.wanted:
                    continue
                if output.status != moves.Status.ITEM:
                    self.wanted.discard(output.idx)
            messages.append(message(output, attachments))
            size += output.data.size if output.data.inline is not None else 0
            if size > _MAX_BYTES:
                self.incoming.item({"outputs": messages, "done": False}, attachments)
                messages, attachments, size = [], [], 0
        if self.position + 1 >= self.call.next_seq and self._satisfied():
            self._end(messages, attachments)
        elif messages:
            self.incoming.item({"outputs": messages, "done": False}, attachments)

    def _end(self, messages: list[dict[str, Any]], attachments: list[codec.Bytes]) -> None:
        self.incoming.item({"outputs": messages, "done": self.call.done_at is not None}, attachments)
        self.incoming.end()
        self.stop()


def message(output: work.Output, attachments: list[codec.Bytes]) -> dict[str, Any]:
    """An output as it travels; its payload is added to ``attachments``."""
    status = output.status
    made: dict[str, Any] = {
        "index": output.idx,
        "seq": output.seq,
        "status": _NAMES[status],
        "retries": output.retries,
    }
    if output.body is not None:
        made.update(_decode(output.body))
    data = output.data
    if data.inline is not None:
        payload: dict[str, Any] = {"at": len(attachments), "size": data.size}
        attachments.append(data.inline)
    elif data.blob is not None:
        payload = {"blob": data.blob, "size": data.size}
    else:
        return made
    if status in (moves.Status.SUCCESS, moves.Status.ITEM):
        made["value"] = payload
    elif "failure" in made:
        made["failure"]["error"] = payload
    return made


def push(core: Core, fresh: dict[work.Call, list[work.Output]]) -> None:
    """After a commit: give each call's news to its watchers, then let held back runners go on."""
    for call, outputs in fresh.items():
        for watcher in list(call.watchers):
            watcher.push(outputs)
        if call.held_back:
            release_held_back(core, call)
        if not call.watchers and call.in_memory == 0:
            call_actions.release(core, call)


def behind(call: work.Call) -> int:
    """How many outputs of a generator its consumer has not been sent yet."""
    seen = max((watcher.position for watcher in call.watchers), default=0)
    return call.next_seq - 1 - seen


def release_held_back(core: Core, call: work.Call) -> None:
    """Answer the runner of a generator whose consumer has caught up, or that has ended."""
    if call.held_back and (call.done_at is not None or behind(call) <= AHEAD):
        waiting, call.held_back = call.held_back, []
        for incoming in waiting:
            incoming.reply({})


def forget_items(core: Core, call: work.Call) -> None:
    """Delete the items of a finished generator."""
    calls.delete_items(core.db, call, call.next_seq)
