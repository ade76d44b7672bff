"""Stopping user code: an exception raised in the main thread by a signal, or the cancelled task of an async function.

The hard part is to hit the right input only. The signal's handler raises only if user code of the very input that is
meant runs at that moment (``_open``); everything of ours runs with the door shut. One input is interrupted at most
once.

    begin(lease) ─ open ─ user code ─ shut ─ … ─ end()        a request outside of open…shut waits for the next open
"""
from __future__ import annotations

import _thread
import os
import signal

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Door(Protocol):
        """Interrupts as those see them who run user code: it can be hit only while the door is open."""

        @property
        def wanted(self) -> str: ...
        def begin(self, lease: object) -> None: ...
        def end(self) -> str: ...
        def open(self) -> None: ...
        def shut(self) -> None: ...
        def async_begin(self, cancel: Callable[[], object]) -> None: ...
        def async_end(self) -> None: ...

CANCEL, TIMEOUT, STOP = "cancel", "timeout", "stop"


class Interrupts:
    """Built in the main thread. ``stop`` is called (in a signal handler: no locks) when the worker asks to end."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._lock = _thread.allocate_lock()
        self.main = _thread.get_ident()
        self._current: object = None
        self._open = False
        self._raised = False
        self._stopped = False
        self._message = ""
        self._canceller: Callable[[], object] | None = None
        self.wanted = ""
        """Why the current input shall end, or ""."""

    def install(self, wake_fd: int) -> None:
        signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGUSR1, self._signalled)
        signal.signal(signal.SIGINT, self._asked_to_stop)
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        os.register_at_fork(after_in_child=_forked)

    # -- main thread ------------------------------------------------------------------------------------------

    def begin(self, lease: object) -> None:
        with self._lock:
            self._current, self.wanted, self._raised = lease, STOP if self._stopped else "", False

    def end(self) -> str:
        """Returns why the input was asked to end, or ""."""
        with self._lock:
            self._current = None
            wanted, self.wanted = self.wanted, ""
            return wanted

    def open(self) -> None:
        self._open = True
        if self.wanted:
            self._raise()

    def shut(self) -> None:
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    def async_begin(self, cancel: Callable[[], object]) -> None:
        """From now on ``cancel`` (called from any thread) instead of a signal."""
        with self._lock:
            self._canceller = cancel
            wanted = self.wanted
        if wanted:
            cancel()

    def async_end(self) -> None:
        with self._lock:
            self._canceller = None

    # -- any thread -------------------------------------------------------------------------------------------

    def request(self, lease: object, why: str, message: str = "") -> None:
        """Interrupt ``lease`` if it runs now and was not interrupted before."""
        with self._lock:
            if lease is None or self._current is not lease or self.wanted:
                return
            self.wanted, self._message = why, message
            if self._canceller is not None:
                self._canceller()
            else:
                signal.pthread_kill(self.main, signal.SIGUSR1)

    def stop(self) -> None:
        """Interrupt what runs and whatever would begin."""
        self._stopped = True
        self.request(self._current, STOP)

    # -- signal handlers --------------------------------------------------------------------------------------

    def _signalled(self, signum: int, frame: object) -> None:
        if self._open and self.wanted:
            self._raise()

    def typed(self, signum: int, frame: object) -> None:
        """Ctrl-C at the terminal that user code has: for user code alone."""
        if self._canceller is not None:
            self._canceller()
        elif self._open:
            raise KeyboardInterrupt

    def _asked_to_stop(self, signum: int, frame: object) -> None:
        self._stopped = True
        self._stop()
        if self._current is not None and not self.wanted:
            self.wanted = STOP
        if self._canceller is not None:
            self._canceller()
        elif self._open and self.wanted:
            self._raise()

    def _raise(self) -> None:
        if self._raised:
            return
        self._open, self._raised = False, True
        if self.wanted == STOP:
            raise KeyboardInterrupt
        raise exception.InputCancellation(self._message or "the input was cancelled")


def _forked() -> None:
    """A child of user code is no runner: it dies of signals like any process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
