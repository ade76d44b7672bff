"""Async written once: coroutines run on the library's own thread, users get a blocking and an ``.aio`` face.

    user's thread                      library's thread (one event loop)
    f.remote(1)  ── call_soon ───────► coroutine … await … done
    (waits on a lock) ◄── release ──── outcome

A public method is a coroutine function under one of the decorators below. ``obj.m(...)`` blocks,
``obj.m.aio(...)`` returns a coroutine for any event loop. Context variables of the caller are seen by the
coroutine. An interrupt in the waiting thread (Ctrl-C, or the runner cancelling an input) cancels the coroutine.

No import of asyncio, typing or threading here: containers import this module even if they never call out.
"""
from __future__ import annotations

import _thread
import contextvars
import os
import sys
import warnings

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    from windlass.client import map

    S = TypeVar("S")
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)

    class _Typed2(Generic[P, R]): ...

    class _Typed3(Generic[S, P, R]): ...

    class _Typed1(Generic[R]): ...

else:
    S = P = R = None

    class _Typed1:
        def __class_getitem__(cls, _: object) -> type:
            return cls

    _Typed2 = _Typed3 = _Typed1

    def overload(function):
        return function


# -- the library's thread -----------------------------------------------------------------------------


class Library:
    """The background thread and its event loop."""

    def __init__(self) -> None:
        import asyncio
        import threading

        self.loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.ident = 0
        self.thread = threading.Thread(target=self._main, name="windlass", daemon=True)
        self.thread.start()
        self._ready.wait()

    def _main(self) -> None:
        import asyncio

        self.ident = _thread.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._ready.set)
        self.loop.run_forever()


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
                    os.register_at_fork(after_in_child=_forked)
                _library = Library()
    return _library


def _forked() -> None:
    global _library, _starting
    _starting = _thread.allocate_lock()
    if _library is not None:
        _abandoned.append(_library)
        _library = None


# -- handing a coroutine over ---------------------------------------------------------------------------


class _Outcome:
    """A coroutine on the library's loop and where its result goes."""

    __slots__ = ("_context", "_coro", "_done", "_library", "_started", "_task", "error", "value")

    def __init__(self, library: Library, coro: Awaitable[Any], done: Callable[[], object]) -> None:
        self._library = library
        self._coro = coro
        self._done = done
        self._context = contextvars.copy_context()
        self._started = False
        self._task: asyncio.Task[None] | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        library.loop.call_soon_threadsafe(self._start, context=self._context)

    def _start(self) -> None:
        # Owner of this task is the thread or loop that waits for the outcome; it cancels it when it leaves.
        self._task = self._library.loop.create_task(self._settle())

    async def _settle(self) -> None:
        self._started = True
        try:
            self.value = await self._coro
        except BaseException as exc:  # noqa: BLE001 - every error belongs to the caller, also KeyboardInterrupt
            self.error = exc
        self._done()

    def cancel(self) -> None:
        """May be called from any thread; the outcome is delivered in any case."""
        self._library.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._started:  # cancelling a task before its first step would skip ``_settle`` altogether
            self._library.loop.call_soon(self._cancel)
        elif self._task is not None:
            self._task.cancel()

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


CANCEL_PATIENCE = 5.0
"""Seconds that an interrupted thread waits for its coroutine to clean up."""


def _wait(coro: Awaitable[object]) -> _Outcome:
    home = library()
    if _thread.get_ident() == home.ident:
        _dispose(coro)
        raise exception.ExecutionError(
            "a blocking method was called on the library's own thread", hint="Await its .aio form instead."
        )
    lock = _thread.allocate_lock()
    lock.acquire()
    outcome = _Outcome(home, coro, lock.release)
    try:
        lock.acquire()
    except BaseException:
        outcome.cancel()
        lock.acquire(True, CANCEL_PATIENCE)
        raise
    return outcome


def run(coro: Awaitable[R]) -> R:
    """Run ``coro`` on the library's thread and wait for it."""
    outcome = _wait(coro)
    if outcome.error is not None:
        raise shown(outcome.error)
    result: R = outcome.value
    return result


async def hop(coro: Awaitable[R]) -> R:
    """Run ``coro`` on the library's thread and await it from any event loop."""
    import asyncio

    home = library()
    loop = asyncio.get_running_loop()
    if loop is home.loop:
        return await coro
    future: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not future.done():
            future.set_result(None)

    def done() -> None:
        try:
            loop.call_soon_threadsafe(arrived)
        except RuntimeError:  # the user's loop was closed meanwhile: nobody waits
            pass

    outcome = _Outcome(home, coro, done)
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
    _Outcome(library(), coro, lambda: None)


def _dispose(coro: Awaitable[object]) -> None:
    close = getattr(coro, "close", None)
    if close is not None:
        close()


def shown(error: BaseException) -> BaseException:
    """Hide the library's frames of errors that are meant for users; keep the remote ones."""
    remote = getattr(error, "__windlass_remote__", None)
    if remote is not None:
        return error.with_traceback(remote)
    if isinstance(error, exception.Error) and not os.environ.get("WINDLASS_TRACEBACK"):
        return error.with_traceback(None)
    return error


def refuse_loop(function: Any) -> None:
    """For what consumes the user's iterators: its blocking form inside a coroutine is an error."""
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        name = function.__qualname__
        raise exception.InvalidError(
            f"{name}(...) cannot be used while an event loop runs in this thread; write {name}.aio(...)"
        )


def check_blocking(function: Any) -> None:
    """Warn when a blocking face is used where it stalls somebody's event loop."""
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        home = _library
        if home is None or _thread.get_ident() != home.ident:
            name = function.__qualname__
            warnings.warn(
                f"{name}(...) blocks the event loop that runs in this thread; write `await {name}.aio(...)`",
                exception.AsyncUsageWarning,
                stacklevel=3,
            )


# -- the decorators -------------------------------------------------------------------------------------


class _Face:
    """What all bound faces share: they look like the function they were made from."""

    __slots__ = ("_bound", "_function")

    def __init__(self, function: Any, bound: tuple[Any, ...] = ()) -> None:
        self._function = function
        self._bound = bound

    @property
    def __wrapped__(self) -> Any:
        return self._function

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        doc: str | None = self._function.__doc__
        return doc

    @property
    def __name__(self) -> str:
        return str(self._function.__name__)

    @property
    def __qualname__(self) -> str:
        return str(self._function.__qualname__)

    def __repr__(self) -> str:
        return f"<method {self._function.__qualname__} with .aio>"


class BoundMethod(_Typed2[P, R], _Face):
    """A blocking method; ``.aio`` is its asynchronous twin."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        check_blocking(self._function)
        outcome = _wait(self._function(*self._bound, *args, **kwargs))
        if outcome.error is not None:
            raise shown(outcome.error)  # here, so that only one frame of ours is in the traceback
        result: R = outcome.value
        return result

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = await hop(self._function(*self._bound, *args, **kwargs))
        return result


class method(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates a coroutine method: ``obj.m()`` blocks, ``await obj.m.aio()`` does not."""

    def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundMethod[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundMethod[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundMethod(self._function, () if obj is None else (obj,))


def function(function: Callable[P, Coroutine[Any, Any, R]]) -> BoundMethod[P, R]:
    """Decorates a coroutine function that is no method: module functions, and remote constructors in classes."""
    return BoundMethod(function)


class BoundOpened(_Typed2[P, R], _Face):
    """Like ``BoundMethod``, for ``opened``."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        check_blocking(self._function)
        outcome = _wait(self._function(*self._bound, *args, **kwargs))
        if outcome.error is not None:
            raise shown(outcome.error)
        try:
            result: R = outcome.value()
        except BaseException as exc:
            raise shown(exc)
        return result

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        sealed = await hop(self._function(*self._bound, *args, **kwargs))
        try:
            result: R = sealed()
        except BaseException as exc:
            raise shown(exc)
        return result


class opened(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates a method in three parts, so that the user's pickling code runs in the user's thread:

    a plain function (arguments are pickled) that returns a coroutine (runs on the library's loop) whose result is
    called in the user's thread (the value is unpickled, or the remote exception raised).
    """

    def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, Callable[[], R]]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundOpened[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundOpened[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundOpened(self._function, () if obj is None else (obj,))


def opened_function(function: Callable[P, Coroutine[Any, Any, Callable[[], R]]]) -> BoundOpened[P, R]:
    """``opened`` for what is no method."""
    return BoundOpened(function)


# -- streams ----------------------------------------------------------------------------------------------


class BlockingStream(_Typed1[R]):
    """Blocking iterator over an async generator that lives on the library's loop.

    Each item is called in the user's thread, see ``opened``.
    """

    def __init__(self, name: str, source: AsyncGenerator[Callable[[], R], None]) -> None:
        self._name = name
        self._source = source
        self._begun = False
        self._over = False

    def __iter__(self) -> Iterator[R]:
        return self  # type: ignore[return-value]

    def __next__(self) -> R:
        self._begun = True
        if self._over:
            raise StopIteration
        try:
            outcome = _wait(self._source.__anext__())
            if outcome.error is None:
                item: R = outcome.value()
                return item
        except BaseException as exc:
            self.close()
            raise shown(exc)
        self._over = True
        if isinstance(outcome.error, StopAsyncIteration):
            raise StopIteration
        raise shown(outcome.error)

    def close(self) -> None:
        if not self._over:
            self._over = True
            if self._begun:
                run(self._source.aclose())

    def __enter__(self) -> BlockingStream[R]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._begun:
            warnings.warn(f"the result of {self._name}(...) was never iterated, so nothing ran", stacklevel=2)
        elif not self._over and _library is not None:
            start(self._source.aclose())


async def hop_stream(source: AsyncGenerator[Callable[[], R], None]) -> AsyncIterator[R]:
    """An async generator of the library's loop, iterated from any loop."""
    try:
        while True:
            try:
                sealed = await hop(source.__anext__())
            except StopAsyncIteration:
                return
            try:
                item = sealed()
            except BaseException as exc:
                raise shown(exc)
            yield item
    finally:
        await hop(source.aclose())


class BoundStream(_Typed2[P, R], _Face):
    """``for x in obj.m()`` and ``async for x in obj.m.aio()``."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> BlockingStream[R]:
        check_blocking(self._function)
        return BlockingStream(self._function.__qualname__, self._function(*self._bound, *args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        return hop_stream(self._function(*self._bound, *args, **kwargs))


class stream(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates an async generator method whose items are called in the user's thread, see ``opened``."""

    def __init__(self, function: Callable[Concatenate[S, P], AsyncGenerator[Callable[[], R], None]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundStream[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundStream[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundStream(self._function, () if obj is None else (obj,))


# -- context managers -------------------------------------------------------------------------------------


class Context(_Typed1[R]):
    """One object for ``with`` and ``async with``. The body runs at the user's, entering and leaving here."""

    def __init__(self, manager: AbstractAsyncContextManager[R, bool | None]) -> None:
        self._manager = manager

    def __enter__(self) -> R:
        return run(self._manager.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return run(self._manager.__aexit__(kind, exc, tb))

    async def __aenter__(self) -> R:
        return await hop(self._manager.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return await hop(self._manager.__aexit__(kind, exc, tb))


class BoundContext(_Typed2[P, R], _Face):
    """A method that returns a ``Context``; ``.aio`` is the same, for symmetry."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Context[R]:
        return Context(self._function(*self._bound, *args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Context[R]:
        return Context(self._function(*self._bound, *args, **kwargs))


class context(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates a method that returns an async context manager whose methods run on the library's loop."""

    def __init__(self, function: Callable[Concatenate[S, P], AbstractAsyncContextManager[R, bool | None]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundContext[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundContext[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundContext(self._function, () if obj is None else (obj,))


# -- maps: what consumes the user's iterators -----------------------------------------------------------------


class BoundResults(_Typed2[P, R], _Face):
    """``for x in f.map(xs)`` and ``async for x in f.map.aio(xs)``: one object serves both, at the user's."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        refuse_loop(self._function)
        results: Iterator[R] = self._function(*self._bound, *args, **kwargs)
        return results

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        results: AsyncIterator[R] = self._function(*self._bound, *args, **kwargs)
        return results


class results(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates a method that returns ``map.Results``."""

    def __init__(self, function: Callable[Concatenate[S, P], map.Results[R]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundResults[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundResults[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundResults(self._function, () if obj is None else (obj,))


class BoundEffect(_Typed2[P, R], _Face):
    """A map that is run for its effects: ``f.for_each(xs)`` and ``await f.for_each.aio(xs)``."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        refuse_loop(self._function)
        effect: map.Effect[R] = self._function(*self._bound, *args, **kwargs)
        return effect.blocking()

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        effect: map.Effect[R] = self._function(*self._bound, *args, **kwargs)
        return await effect.asynchronous()


class effect(_Typed3[S, P, R]):  # noqa: N801 - used as a decorator
    """Decorates a method that returns ``map.Effect``."""

    def __init__(self, function: Callable[Concatenate[S, P], map.Effect[R]]) -> None:
        self._function = function

    @overload
    def __get__(self, obj: None, owner: type[S]) -> BoundEffect[Concatenate[S, P], R]: ...
    @overload
    def __get__(self, obj: S, owner: type[S]) -> BoundEffect[P, R]: ...
    def __get__(self, obj: Any, owner: Any) -> Any:
        return BoundEffect(self._function, () if obj is None else (obj,))
