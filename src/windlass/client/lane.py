"""A connection of its own for the thread that calls again and again, and waits for each answer.

    user's thread ── f.remote() ──► question ──► platform ──► answer ──► user's thread

By way of the library's loop a call wakes a second thread, and that one wakes the first again. So who has called a few
times in a row gets a connection that his thread writes and reads itself. It knows no patience: who was not answered
soon, or lost the connection, asks again through the session, which waits, connects again and resumes; what is asked
here may be repeated.

While logs are shown there is none: the session brings them in order with the results. In containers there is none.
"""
from __future__ import annotations

import _thread
import time

from windlass import exception
from windlass.client import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from windlass.client import address, direct
    from windlass.wire import codec

PATIENCE = 1.0
"""Seconds for an answer: what takes longer gains nothing from this."""

_ROW = 4  # calls one after the other, before a connection is opened for more of them
_PAUSE = 0.5  # seconds between two of them
_STALE = 5.0  # seconds after which what lies between may have forgotten a connection
_REST = 30.0  # seconds until it is tried again after it could not be opened


class Unanswered(Exception):
    """Nobody knows whether it was heard."""


class Lane:
    """Of one session. ``take`` it, ``ask``, ``leave`` it; who does not get it asks through the session."""

    def __init__(self, where: address.Address) -> None:
        self._where = where
        self._taken = _thread.allocate_lock()
        self._connection: direct.Connection | None = None
        self._row = 0
        self._last = 0.0
        self._not_before = 0.0
        self._opening = False
        self._closed = where.hello["role"] != "user"  # in containers forks would share it

    def take(self) -> bool:
        """Whether this thread has it now. Nobody waits for it."""
        if output.current().enabled or not self._taken.acquire(False):
            return False
        pause, self._last = time.monotonic() - self._last, time.monotonic()
        if pause > _STALE:
            self._drop()
        if self._connection is not None:
            return True
        self._row = self._row + 1 if pause < _PAUSE else 1
        if self._row >= _ROW and not (self._opening or self._closed) and self._last > self._not_before:
            self._open_beside()
        self._taken.release()
        return False

    def ask(self, method: str, body: Any, attachments: Sequence[codec.Bytes]) -> codec.Frame:
        """The first item of a stream. The lane must have been taken.

        Raises:
            Unanswered: there was none.
            Error: what was answered instead.
        """
        connection = self._connection
        assert connection is not None
        try:
            return connection.first(method, body, attachments)
        except BaseException as exc:  # also an interrupt: half of a frame may have been sent, or read
            self._drop()
            if isinstance(exc, OSError) and not isinstance(exc, exception.Error):
                raise Unanswered from exc
            raise

    def leave(self) -> None:
        """The next one may take it."""
        self._last = time.monotonic()
        if self._closed:
            self._drop()
        self._taken.release()

    def close(self) -> None:
        """For good. Whoever has it is answered yet."""
        self._closed = True
        if self._taken.acquire(False):
            self._drop()
            self._taken.release()

    def _drop(self) -> None:
        connection, self._connection, self._row = self._connection, None, 0
        if connection is not None:
            connection.close()

    def _open_beside(self) -> None:
        import threading

        self._opening = True
        threading.Thread(target=self._open, name="windlass lane", daemon=True).start()

    def _open(self) -> None:
        from windlass.client import direct

        try:
            connection = direct.opened(self._where, patience=PATIENCE)
        except (OSError, exception.Error):  # the session does without, and tells if something is wrong
            self._not_before = time.monotonic() + _REST
        else:
            with self._taken:
                self._connection, self._last = connection, time.monotonic()
                if self._closed:
                    self._drop()
        finally:
            self._opening = False
