"""The library's own thread: all I/O runs on its event loop; users wait for it from their threads and loops.

    user's thread                      library's thread (one event loop)
    f.remote(1)  ── call_soon ───────► coroutine … await … done
    (waits on a lock) ◄── release ──── outcome

``run`` blocks a thread, ``hop`` is awaited from any event loop; ``faces`` makes public methods of both. Context
variables of the caller are seen by the coroutine. An interrupt in the waiting thread (Ctrl-C, or the runner
cancelling an input) cancels the coroutine. What is asked often is a ``Prompt``: callbacks instead of a coroutine.

No import of asyncio, typing or threading here: containers import this module even if they never call out.
"""
from __future__ import annotations

import _thread
import atexit
import contextvars
import os
import sys
import warnings
import weakref
from collections import deque

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from typing import Any, TypeVar

    R = TypeVar("R")


# -- from one thread to another's loop --------------------------------------------------------------------


class Door:
    """Calls handed to a loop from other threads. A wake-up costs system calls: one serves all that came meanwhile."""

    __slots__ = ("_knocked", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)  # a user's loop may go; whoever waits for a call keeps it
        self._waiting: deque[Callable[[], Callable[[], object] | None]] = deque()
        self._knocked = False

    def call(self, what: Callable[[], Callable[[], object] | None]) -> None:
        """``what`` must not raise. It may return something to be called when all that waits here has been called.

        Raises ``RuntimeError`` where the loop is closed.
        """
        self._waiting.append(what)
        if not self._knocked:
            self._knock()

    def _knock(self) -> None:
        loop = self._loop()
        if loop is not None:
            self._knocked = True
            loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._knocked = False  # first: who finds it set has put his call where it is seen below
        then: dict[Callable[[], object], None] = {}
        try:
            for _ in range(len(self._waiting)):
                if (more := self._waiting.popleft()()) is not None:
                    then[more] = None
        finally:
            for last in then:
                last()
            if self._waiting and not self._knocked:  # Ctrl-C in the midst of it
                self._knock()


_doors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Door] = weakref.WeakKeyDictionary()


def _door_of(loop: asyncio.AbstractEventLoop) -> Door:
    """Of a user's loop; called in its own thread."""
    door = _doors.get(loop)
    if door is None:
        door = _doors[loop] = Door(loop)
    return door


# -- the library's thread -----------------------------------------------------------------------------


class Library:
    """The background thread and its event loop."""

    def __init__(self) -> None:
        import asyncio
        import threading

        self.loop = asyncio.new_event_loop()
        self.door = Door(self.loop)
        self._ready = threading.Event()
        self.ident = 0
        self.closed = False
        self.thread = threading.Thread(target=self._main, name="windlass", daemon=True)
        self.thread.start()
        self._ready.wait()

    def _main(self) -> None:
        import asyncio

        self.ident = _thread.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._ready.set)
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=EXIT_PATIENCE))

    def close(self) -> None:
        """Python ends: end what still runs, or it would complain of being destroyed."""
        self.closed = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(EXIT_PATIENCE)


_library: Library | None = None
_starting = _thread.allocate_lock()
_abandoned: list[Library] = []  # a forked child must neither use nor close what its parent owns


def library() -> Library:
    """The one library thread of this process, started on first need."""
    global _library
    if _library is None:
        with _starting:
            if _library is None:
                if not _abandoned:
                    if hasattr(os, "register_at_fork"):
                        os.register_at_fork(after_in_child=_forked)
                    atexit.register(_close)
                _library = Library()
    return _library


def started() -> bool:
    """Whether there is a library thread."""
    return _library is not None


def _close() -> None:
    if _library is not None:
        _library.close()


def _forked() -> None:
    global _library, _starting
    _starting = _thread.allocate_lock()
    if _library is not None:
        _abandoned.append(_library)
        _library = None


# -- handing a coroutine over ---------------------------------------------------------------------------


class Prompt:
    """Something to be asked that needs no task on the library's loop as long as all goes well.

    All but ``__init__`` and ``at_once`` is called on the loop.
    """

    def at_once(self) -> Settled | None:
        """Asked and answered in the thread that waits, without the loop; None: not this time."""
        return None

    def begin(self, outcome: Outcome) -> Callable[[], object] | None:
        """Ask. Later, and once: ``outcome.settle``, or ``outcome.go_on`` with a coroutine for what is left to do.

        Returned: what brings out what was asked, together with what others ask in this turn.
        """
        raise NotImplementedError

    def cancel(self) -> None:
        """Nobody waits any more. Called before it has settled, at most once; it settles now."""
        raise NotImplementedError

    async def patiently(self) -> Any:
        """The same as a coroutine."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.patiently().__await__()


class Settled:
    """What came of something."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: BaseException | None = None) -> None:
        self.value, self.error = value, error


class Outcome(Settled):
    """A coroutine, or a ``Prompt``, on the library's loop, and where its result goes."""

    __slots__ = ("_context", "_coro", "_done", "_given_up", "_library", "_over", "_started", "_task")

    def __init__(self, library: Library, coro: Awaitable[Any], done: Callable[[], object]) -> None:
        self._library = library
        self._coro = coro
        self._done = done
        self._context = contextvars.copy_context()
        self._started = False
        self._given_up = False
        self._over = False
        self._task: asyncio.Task[None] | None = None
        super().__init__(None)
        library.door.call(self._begin)

    def _begin(self) -> Callable[[], object] | None:
        if not isinstance(self._coro, Prompt):
            self._context.run(self._start)
            return None
        self._started = True
        try:
            return self._context.run(self._coro.begin, self)
        except BaseException as exc:  # noqa: BLE001 - every error belongs to the caller
            self.settle(None, exc)
            return None

    def go_on(self, coro: Coroutine[Any, Any, Any]) -> None:
        """A prompt could not do it by itself."""
        self._coro, self._started = coro, False
        self._library.loop.call_soon(self._start, context=self._context)

    def _start(self) -> None:
        # Owner of this task is the thread or loop that waits for the outcome; it cancels it when it leaves.
        self._task = self._library.loop.create_task(self._settle())

    async def _settle(self) -> None:
        self._started = True
        try:
            value = await self._coro
        except BaseException as exc:  # noqa: BLE001 - every error belongs to the caller, also KeyboardInterrupt
            self.settle(None, exc)
        else:
            self.settle(value)

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """The one and only end."""
        self.value, self.error, self._over = value, error, True
        if self._given_up:  # ``asyncio.wait_for`` may have swallowed that, before Python 3.12
            self._drop()
        self._done()

    def cancel(self) -> None:
        """May be called from any thread; the outcome is delivered in any case."""
        self._library.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._over:
            self._drop()
        elif not self._started:  # cancelling a task before its first step would skip ``_settle`` altogether
            self._library.loop.call_soon(self._cancel)
        elif isinstance(self._coro, Prompt):
            self._given_up = True
            self._coro.cancel()
        elif self._task is not None:
            self._given_up = True
            self._task.cancel()

    def _drop(self) -> None:
        """There is a result that nobody waits for any more; some want to know that."""
        dropped = getattr(self.value, "dropped", None)
        if dropped is not None:
            dropped()

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


_LOOK = 0.2 if sys.platform == "win32" else 5.0
"""Seconds between two looks whether Ctrl-C came. On Windows nothing wakes a thread that waits; elsewhere a signal does,
unless it came in the moment before, or the system gave it to another thread."""

CANCEL_PATIENCE = 5.0
"""Seconds that an interrupted thread waits for its coroutine to clean up."""

EXIT_PATIENCE = 1.0
"""Seconds that the end of Python waits for what still runs."""


def wait(coro: Awaitable[object]) -> Settled:
    """What comes of ``coro`` on the library's thread."""
    home = _open(coro)
    if _thread.get_ident() == home.ident:
        _dispose(coro)
        raise exception.ExecutionError(
            "a blocking method was called on the library's own thread", hint="Await its .aio form instead."
        )
    if isinstance(coro, Prompt) and (settled := coro.at_once()) is not None:
        return settled
    lock = _thread.allocate_lock()
    lock.acquire()
    outcome = Outcome(home, coro, lock.release)
    try:
        while not lock.acquire(True, _LOOK):
            continue
    except BaseException:
        outcome.cancel()
        lock.acquire(True, CANCEL_PATIENCE)
        raise
    return outcome


def run(coro: Awaitable[R]) -> R:
    """Run ``coro`` on the library's thread and wait for it."""
    outcome = wait(coro)
    if outcome.error is not None:
        raise shown(outcome.error)
    result: R = outcome.value
    return result


async def hop(coro: Awaitable[R]) -> R:
    """Run ``coro`` on the library's thread and await it from any event loop."""
    import asyncio

    home = _open(coro)
    loop = asyncio.get_running_loop()
    if loop is home.loop:
        return await coro
    future: asyncio.Future[None] = loop.create_future()
    door = _door_of(loop)

    def arrived() -> None:
        if not future.done():
            future.set_result(None)

    def done() -> None:
        try:
            door.call(arrived)
        except RuntimeError:  # the user's loop was closed meanwhile: nobody waits
            pass

    outcome = Outcome(home, coro, done)
    try:
        await future
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    if outcome.error is not None:
        raise shown(outcome.error)
    result: R = outcome.value
    return result


def start(coro: Coroutine[Any, Any, object]) -> None:
    """Run ``coro`` on the library's thread; nobody waits (errors are dropped)."""
    home = library()
    if home.closed:
        _dispose(coro)
    else:
        Outcome(home, coro, lambda: None)


def soon(function: Callable[[], object]) -> None:
    """Call it on the library's thread; nobody waits."""
    library().loop.call_soon_threadsafe(function)


def _open(coro: Awaitable[object]) -> Library:
    home = library()
    if home.closed:
        _dispose(coro)
        raise exception.ClientClosed("Python is ending: nothing can be asked any more")
    return home


def _dispose(coro: Awaitable[object]) -> None:
    close = getattr(coro, "close", None)
    if close is not None:
        close()


def shown(error: BaseException) -> BaseException:
    """Hide the library's frames of errors that are meant for users; keep the remote ones."""
    if "__windlass_remote__" in getattr(error, "__dict__", ()):
        return error.with_traceback(error.__dict__["__windlass_remote__"])
    from windlass import config

    ours = isinstance(error, exception.Error) or (isinstance(error, OSError) and _raised_here(error))
    if ours and not config.config["traceback"]:
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    return error


def _raised_here(error: BaseException) -> bool:
    """By the library itself, about a file of the user's that is not there or cannot be read."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_globals.get("__name__", "").startswith("windlass.")


def refuse_loop(name: str) -> None:
    """For what consumes the user's iterators: its blocking form inside a coroutine is an error."""
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None and not _in_notebook():
        raise exception.InvalidError(
            f"{name}(...) cannot be used while an event loop runs in this thread; write {name}.aio(...)"
        )


def _in_notebook() -> bool:
    """There the loop waits for its cell anyway."""
    return "ipykernel" in sys.modules


_METHODS = {
    "__getitem__": "get", "__setitem__": "put", "__delitem__": "pop", "__contains__": "contains", "__len__": "len",
}  # fmt: skip
"""What does the same as an operator, and can be awaited."""


def check_blocking(function: Any) -> None:
    """Warn when a blocking face is used where it stalls somebody's event loop."""
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        home = _library
        if home is None or _thread.get_ident() != home.ident:
            from windlass import config

            if not config.config["async_warnings"] or _in_notebook():
                return
            name = function.__qualname__
            kind, _, method = name.rpartition(".")
            twin = f"{kind}.{_METHODS[method]}" if method in _METHODS else name
            warnings.warn(
                f"{name}(...) blocks the event loop that runs in this thread; write `await {twin}.aio(...)`",
                exception.AsyncUsageWarning,
                stacklevel=3,
            )
