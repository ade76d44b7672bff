"""Group commit: all that happens in one turn of the event loop is one transaction.

    requests ─► change memory, note rows ─► end of turn: lease, schedule ─► write rows ─► commit ─► answers, notices

Nothing is answered before the commit, so nothing that was acknowledged can be lost. When the commit fails, memory
is ahead of the rows: all answers of the turn fail and ``recover`` begins anew from the rows, like after a restart.

Runners are no callers: where nobody waits for an answer of this turn, they are told of their leases first (ADR 0030),
and the rows wait a few milliseconds for the results, to be written once and with their end (ADR 0029). If that fails,
runners are told to drop what they hold when they come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from windlass import exception
from windlass.server.bus import link
from windlass.server.state import machines, measures, moves, records, work
from windlass.server.store import calls, database, inputs
from windlass.server.store import records as record_rows
from windlass.wire import peer

_log = logging.getLogger(__name__)
_PATIENCE = 0.005  # seconds for which rows of which nobody was told may wait for what becomes of them


class Turn:
    """The open turn. ``prepare`` runs before the rows are written (leases, schedules), ``push`` after the commit."""

    def __init__(self, db: database.Database) -> None:
        self._db = db
        self._timer: asyncio.TimerHandle | None = None
        self._owed: list[peer.Incoming] = []
        self.commits = 0
        self.took = measures.Timing()
        """How long commits take."""
        self.prepare: Callable[[], None] = lambda: None
        self.recover: Callable[[BaseException], None] = lambda exc: None
        self.traced: Callable[[work.Input], str] | None = None
        """The ``traceparent`` of an attempt, where traces are exported."""
        self.push: Callable[[dict[work.Call, list[work.Output]]], None] = lambda fresh: None
        self._reset()

    def _reset(self) -> None:
        self._open = self._begun = self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.calls: list[work.Call] = []
        self.inserted: list[work.Input] = []
        self.changed: dict[int, work.Input] = {}
        self.ended: list[tuple[int, int, int]] = []
        self.ended_large: list[int] = []
        self.outputs: list[tuple[int, work.Output]] = []
        self.done_calls: list[work.Call] = []
        self.records: list[records.Record] = []
        self.fresh: dict[work.Call, list[work.Output]] = {}
        self.leases: dict[machines.Container, list[work.Input]] = {}
        self.dispatch: dict[machines.Function, None] = {}
        self.answers: list[tuple[peer.Incoming, Any, Any]] = []
        self.results: list[peer.Incoming] = []
        self.after: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return self._open

    def begin(self) -> None:
        """Make sure that a transaction is open; it ends with this turn of the event loop."""
        if not self._begun:
            if not self._db.in_transaction:
                self._db.begin()
            self._begun = True
            new, self.calls = self.calls, []
            for call in new:
                self._insert(call)
        self.touch()

    def touch(self) -> None:
        """The same for what changes memory alone: the database is only asked if something else needs it."""
        if not self._open or self._waiting:
            self._open, self._waiting = True, False
            asyncio.get_running_loop().call_soon(self._close)

    def then(self, callback: Callable[[], None]) -> None:
        """Call it once what was done is durable."""
        self.touch()
        self.after.append(callback)

    def add(self, call: work.Call) -> None:
        """Note a new call. Its row is there as soon as the database is asked to change anything else."""
        if self._begun:
            self._insert(call)
        else:
            call.fresh = True
            self.calls.append(call)

    def _insert(self, call: work.Call) -> None:
        call.fresh = False
        calls.insert(self._db, call)

    def answer(self, incoming: peer.Incoming, body: Any, attachments: Any = ()) -> None:
        """Reply once what was done is durable."""
        self.touch()
        self.answers.append((incoming, body, attachments))

    def acknowledge(self, incoming: peer.Incoming) -> None:
        """The same for results of a runner, which goes on meanwhile: it may hear of it when it is awake anyway."""
        self.touch()
        self.results.append(incoming)

    def settle(self) -> None:
        """Acknowledge what runners have not been told of: it was committed some time ago."""
        owed, self._owed = self._owed, []
        for incoming in owed:
            incoming.reply({})

    def change(self, item: work.Input) -> None:
        """Note that the row of ``item`` must follow its memory. Fresh ones are inserted as they are, but for counts."""
        if not item.fresh or item.retries or item.crashes:
            self.changed[item.key] = item

    def flush(self) -> None:
        """Write the rows noted so far, so that statements see them."""
        if not self._begun:
            if not (self.calls or self.inserted or self.changed or self.outputs or self.records or self.done_calls):
                return
            self.begin()
        if self.inserted:
            rows, self.inserted = self.inserted, []
            inputs.insert(self._db, rows)
            for item in rows:
                item.fresh = False
                if item.state == moves.InputState.READY:
                    item.forget_large()
        if self.changed:
            changed, self.changed = self.changed, {}
            inputs.update(self._db, list(changed.values()))
        if self.outputs:
            outputs, self.outputs = self.outputs, []
            inputs.insert_outputs(self._db, outputs)
            ended, self.ended, large, self.ended_large = self.ended, [], self.ended_large, []
            if ended:
                inputs.finish(self._db, ended, large)
        if self.records:
            rows_of, self.records = self.records, []
            record_rows.insert(self._db, rows_of)
        if self.done_calls:
            done, self.done_calls = self.done_calls, []
            calls.set_done(self._db, done)

    def _close(self) -> None:
        self.end(ahead=True)

    def end(self, *, ahead: bool = False) -> None:
        """Lease, write, commit; then tell everybody. Also called before the loop's turn is over, by callbacks that have
        left memory whole (the edge's): what comes after it is a turn of its own.

        ``ahead``: what runners may know before, they are told, and the rest follows in the next turn of the loop,
        because what is sent leaves at the end of this one; or later, if nobody else waits for it."""
        if not self._open:
            return
        self._waiting = False
        took: float | None = None
        try:
            self.prepare()
            if ahead and self.leases and not (self.answers or self.results) and (self._begun or self.inserted):
                with link.at_once:
                    self._lend(self.leases)
                self.leases = {}
                self._follow()
                return
            self.flush()
            if self._begun:
                began = time.perf_counter()
                self._db.commit()
                took = time.perf_counter() - began
        except Exception as exc:  # noqa: BLE001 - whatever failed, memory must be rebuilt from rows
            self._fail(exc)
            return
        self._tell()
        if took is not None:
            self.took.add(took)
            self.commits += 1

    def _follow(self) -> None:
        """Write what is left: soon, or when something else comes, or when that has not come for long."""
        loop = asyncio.get_running_loop()
        if self._begun or self.fresh or self.after:
            loop.call_soon(self.end)
            return
        self._waiting = True
        loop.call_soon(self._be_ready)
        if self._timer is None:
            self._timer = loop.call_later(_PATIENCE, self.end)

    def _be_ready(self) -> None:
        """While the runner works: what could wait, and what can be done of the transaction without its rows."""
        self.settle()
        if self._waiting and not self._db.in_transaction:
            try:
                self._db.begin()
            except exception.Error as exc:
                self._fail(exc)

    def _tell(self) -> None:
        fresh, leases, after = self.fresh, self.leases, self.after
        answers, results = self.answers, self.results
        self._reset()
        if fresh:
            with link.at_once:  # callers first: it is results that somebody waits for
                _try(self.push, fresh)
        with link.at_once:
            self.settle()
            self._owed = results
            if leases or answers or after:
                self.settle()
            for incoming, body, attachments in answers:
                incoming.reply(body, attachments)
            # Behind answers: a runner that comes back hears first what it must drop, and may get that very thing anew.
            self._lend(leases)
            for callback in after:
                _try(callback)

    def _lend(self, leases: dict[machines.Container, list[work.Input]]) -> None:
        for container, items in leases.items():
            send_leases(container, items, self.traced)

    def abandon(self, exc: BaseException) -> None:
        """Give up all that this turn changed: something in it is wrong."""
        self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        _log.error(
            "a turn could not be committed: %s", exc, exc_info=not isinstance(exc, exception.ResourceExhaustedError)
        )
        failed = [incoming for incoming, _, _ in self.answers] + self.results
        try:
            self._db.rollback()
        finally:
            self._reset()
        for incoming in failed:
            incoming.fail(exc)
        self.recover(exc)


def _try(callback: Callable[..., None], *arguments: Any) -> None:
    """One who cannot be told must not keep the others from hearing."""
    try:
        callback(*arguments)
    except Exception:  # noqa: BLE001 - the end of a loop's tick: what was committed stays so
        _log.exception("telling the news failed")


def send_leases(
    container: machines.Container, items: list[work.Input], traced: Callable[[work.Input], str] | None = None
) -> None:
    """Tell a runner what it may run. If the notice is lost the connection is, and then the leases are given back."""
    leases: list[dict[str, Any]] = []
    attachments: list[bytes] = []
    for item in items:
        data = item.data
        if item.call.transient and container.direct is not None:
            container.direct.lease(item)
            continue
        if data.inline is not None:
            payload: dict[str, Any] = {"at": len(attachments), "size": data.size}
            attachments.append(data.inline)
        else:
            payload = {"blob": data.blob, "size": data.size}
        lease = {
            "input_id": item.id,
            "call_id": item.call.id,
            "attempt": item.attempt,
            "retries": item.retries,
            "payload": payload,
        }
        if item.call.method:
            lease["method"] = item.call.method
        if traced is not None:
            lease["traceparent"] = traced(item)
        leases.append(lease)
    if container.direct is not None:
        container.direct.flush()
    if leases and container.peer is not None:
        container.peer.notify("runner.lease", {"leases": leases}, attachments)
