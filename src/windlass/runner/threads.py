"""Inputs that run in threads, and how user code in a thread is interrupted.

Python runs handlers of signals in the main thread only. In others an exception can be left with the thread: it is
raised as soon as the thread runs Python code again. Code that waits in a system call does not notice until the call
returns; what never notices takes the container with it (``crowd``). An import is finished first.
"""
from __future__ import annotations

import _thread
import contextvars
import queue
import sys
import threading

from windlass import exception
from windlass.runner import interrupts as interrupts_module
from windlass.runner import invoke

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent import futures
    from typing import Any

    from windlass.runner import served as served_module
    from windlass.runner import units


_IMPORT = "<frozen importlib._bootstrap>"


class Threads:
    """As many threads as were ever needed at once, up to ``most``. ``perform`` raises nothing."""

    def __init__(self, most: int, perform: Callable[[units.Run], None]) -> None:
        self._most = most
        self._perform = perform
        self._jobs: queue.SimpleQueue[units.Run] = queue.SimpleQueue()
        self._lock = _thread.allocate_lock()
        self._count = 0
        self._spare = 0
        """Threads that wait, less the jobs that wait for them."""
        self._context = contextvars.copy_context()

    def start(self, run: units.Run) -> None:
        """Any thread."""
        with self._lock:
            self._spare -= 1
            if self._spare < 0 and self._count < self._most and self._one_more():
                self._count += 1
                self._spare += 1
        self._jobs.put(run)

    def _one_more(self) -> bool:
        thread = threading.Thread(target=self._work, name=f"input-{self._count + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the container may have no more threads: those that there are must do
            if not self._count:
                raise
            return False
        return True

    def _work(self) -> None:
        while True:
            run = self._jobs.get()
            # A context of its own, so that what user code sets in one input is not seen by another.
            self._context.copy().run(self._perform, run)
            del run
            with self._lock:
                self._spare += 1


class Door:
    """Open while user code of ``run`` runs in the thread that made this."""

    def __init__(self, run: units.Run) -> None:
        self._run = run
        self._thread = _thread.get_ident()
        self._open = False
        self._left = False
        """An exception was left with the thread."""
        self._raised = False

    @property
    def wanted(self) -> str:
        return self._run.wanted

    def begin(self, lease: object) -> None:
        self._run.stopped_by(self._knock)

    def open(self) -> None:
        with self._run.lock:
            asked = bool(self._run.wanted) and not self._raised
            self._raised = self._raised or asked
            self._open = not asked
        if asked:
            raise self._kind()

    def shut(self) -> None:
        with self._run.lock:
            self._open = False

    def end(self) -> str:
        why = self._run.finish()
        if self._left:
            try:
                _leave(self._thread, None)
            except (exception.InputCancellation, KeyboardInterrupt):
                pass  # it arrived in the very act of being taken back
        return why

    def async_begin(self, cancel: Callable[[], object]) -> None:
        self._run.stopped_by(cancel)

    def async_end(self) -> None:
        self._run.stopped_by(None)

    def _knock(self) -> None:
        """With the lock held. If the door is shut, the next ``open`` raises."""
        if not self._open or self._raised:
            return
        # An exception in the midst of an import would leave its lock shut, and whoever imports the same waits for ever.
        self._run.postponed = _imports(self._thread)
        if not self._run.postponed:
            _leave(self._thread, self._kind())
            self._run.postponed = _imports(self._thread)  # it may have gone on between the look and now
            if self._run.postponed:
                _leave(self._thread, None)
                return
            self._open, self._left, self._raised = False, True, True

    def _kind(self) -> type[BaseException]:
        return KeyboardInterrupt if self._run.wanted == interrupts_module.STOP else exception.InputCancellation


def _imports(thread: int) -> bool:
    """Whether a thread is importing something at this moment."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _leave(thread: int, kind: type[BaseException] | None) -> None:
    """Leave an exception with a thread, or take back the one that it has not noticed yet."""
    import ctypes  # most containers never interrupt anything

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if kind is None else ctypes.py_object(kind)
    )


class Invoker(invoke.Invoker):
    """Calls user code in a thread. What turns out to be async runs on the main thread's loop (``on_loop``)."""

    def __init__(
        self,
        served: served_module.Served,
        door: Door,
        on_loop: Callable[[Awaitable[Any]], futures.Future[Any]],
    ) -> None:
        super().__init__(served, interrupts=door)
        self._door = door
        self._on_loop = on_loop

    def _await(self, awaitable: Awaitable[Any]) -> Any:
        future = self._on_loop(awaitable)
        self._door.async_begin(future.cancel)
        try:
            return future.result()
        finally:
            self._door.async_end()
