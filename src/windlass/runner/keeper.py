"""The second thread of a container whose inputs run side by side: it always reads, and keeps the time.

Everybody else sends, and waits for what it has read (``Shared``).
"""
from __future__ import annotations

import os
import threading
import time

from windlass.runner import attendant, marks
from windlass.wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from windlass.runner import link as link_module
    from windlass.runner import outcome
    from windlass.runner import work as work_module

_PATIENCE = 1.0  # seconds between looks at what is waited for, should a change go unnoticed


class Shared:
    """The connection for all threads but the one that reads."""

    def __init__(self, link: link_module.Link) -> None:
        self._link = link
        self.main_wake = link.main_wake
        self._changed = threading.Condition()
        self._waiting = 0

    @property
    def up(self) -> bool:
        return self._link.up

    @property
    def generation(self) -> int:
        return self._link.generation

    def request(
        self, method: str, body: Any, attachments: Sequence[codec.Bytes] = (), *, kind: str = codec.REQUEST,
        answer: link_module.Answer | None = None,
    ) -> None:  # fmt: skip
        self._link.request(method, body, attachments, kind=kind, answer=answer)

    def wait(self, done: Callable[[], object], deadline: float = float("inf")) -> bool:
        """Until ``done``; False when the deadline (monotonic) came first."""
        with self._changed:
            self._waiting += 1
            try:
                while not done():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._changed.wait(min(left, _PATIENCE))
            finally:
                self._waiting -= 1
        return True

    def changed(self) -> None:
        """Something was read, or happened."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()


class Keeper(attendant.Attendant):
    """``due`` is called with the time, does what is due by then and says when it is to be called again. ``read`` is
    called after each reading."""

    def __init__(
        self,
        link: link_module.Link,
        work: work_module.Work,
        outcomes: outcome.Outcomes,
        *,
        due: Callable[[float], float],
        read: Callable[[], None],
    ) -> None:
        super().__init__(link, work, outcomes, timeout=0.0)
        self._due = due
        self._read = read
        self._reads = True
        self._until = 0.0
        self._flushing = False

    def attend(self) -> None:
        """Any thread: look at the time again."""
        self._link.attendant_wake.set()

    def expect(self, at: float) -> None:
        """Any thread: something is due then."""
        if at < self._until:
            self._link.attendant_wake.set()

    def flush_soon(self) -> None:
        """Any thread: bring out outputs, together with those that others add until this thread has its turn."""
        if not self._flushing:
            self._flushing = True
            self._link.attendant_wake.set()

    def _run(self) -> None:
        try:
            self._link.take()
            while True:
                now = time.monotonic()
                self._until = float("inf")  # whoever expects something from here on wakes us
                self._until = self._duties(now)
                self._link.step(max(0.0, self._until - now), self._link.attendant_wake)
                self._read()
        except BaseException as exc:  # noqa: BLE001 - without this thread nobody would hear the server
            marks.flush()
            os.write(2, f"the runner cannot go on: {exc}\n".encode())
            os._exit(1)

    def _duties(self, now: float) -> float:
        work = self._work
        if now >= self._beat_at:
            self._beat_at = now + attendant.BEAT
            self._link.request("runner.beat", {"held": work.listed()})
        self._flushing = False
        work.flush()
        due = self._due(now)
        if now >= work.die_at:
            self.die()
        return min(due, self._beat_at, work.die_at)
