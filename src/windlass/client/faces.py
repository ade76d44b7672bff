"""Async written once: how one coroutine function becomes a public method with two faces.

    @faces.method            obj.m(1)                  await obj.m.aio(1)
    @faces.stream            for x in obj.m(1)         async for x in obj.m.aio(1)
    @faces.paged             the same, with many values in one trip to the library's loop
    @faces.own               for x in obj              async for x in obj.__iter__.aio()
    @faces.context           with obj.m(1)             async with obj.m(1)
    @faces.results           for x in obj.m(xs)        async for x in obj.m.aio(xs)      (maps)
    @faces.effect            obj.m(xs)                 await obj.m.aio(xs)               (maps without results)

``opened`` and ``stream`` are in three parts, so that the user's pickling code runs in the user's thread: a plain
function (arguments are pickled) returns a coroutine (runs on the library's loop) whose result is called in the user's
thread (the value is unpickled, or the remote exception raised).
"""
from __future__ import annotations

import warnings

from windlass.client import bridge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

    from windlass.client import results as results_module

    S = TypeVar("S")
    P = ParamSpec("P")
    R = TypeVar("R")

    class _Typed1(Generic[R]): ...

    class _TypedP(Generic[P]): ...

    class _Typed2(Generic[P, R]): ...

    class _Typed3(Generic[S, P, R]): ...

else:  # typing is not worth its import in each container
    S = P = R = None

    class _Typed1:
        def __class_getitem__(cls, _: object) -> type:
            return cls

    _TypedP = _Typed2 = _Typed3 = _Typed1


class _Face:
    """What all bound faces share: they look like the function they were made from."""

    __slots__ = ("_bound", "_function")

    def __init__(self, function: Any, bound: tuple[Any, ...] = ()) -> None:
        self._function = function
        self._bound = bound

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # Or the docstring of the class would hide that of the function.
        cls.__doc__ = _Face.__dict__["__doc__"]  # type: ignore[method-assign]

    @property
    def __wrapped__(self) -> Any:
        return self._function

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        doc: str | None = self._function.__doc__
        return doc

    def __getattr__(self, name: str) -> Any:  # ``__name__``, ``__qualname__`` and whatever else functions have
        if name == "_function":
            raise AttributeError(name)
        return getattr(self._function, name)

    def __repr__(self) -> str:
        return f"<method {self._function.__qualname__} with .aio>"


class _Descriptor:
    """On an object: its face. On the class: the face of the function with ``self`` as a parameter."""

    _face: type[_Face]

    if not TYPE_CHECKING:

        def __init__(self, function):
            self._function = function

        def __get__(self, obj, owner):
            return self._face(self._function, () if obj is None else (obj,))


def known_as(public: str, part: type) -> None:
    """Name the functions of ``part``, a base of the class ``public``, as users know them: errors say these names."""
    for name, value in vars(part).items():
        inner = getattr(value, "__func__", value)
        inner = getattr(inner, "_function", inner)
        if hasattr(inner, "__code__"):
            inner.__qualname__ = f"{public}.{name}"


class BoundMethod(_Typed2[P, R], _Face):
    """A blocking method; ``.aio`` is its asynchronous twin."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bridge.check_blocking(self._function)
        outcome = bridge.wait(self._function(*self._bound, *args, **kwargs))
        if outcome.error is not None:
            raise bridge.shown(outcome.error)  # here, so that only one frame of ours is in the traceback
        result: R = outcome.value
        return result

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = await bridge.hop(self._function(*self._bound, *args, **kwargs))
        return result


class method(_Typed3[S, P, R], _Descriptor):
    """Decorates a coroutine method."""

    _face = BoundMethod

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundMethod[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundMethod[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


class chained(_TypedP[P], _Descriptor):
    """Decorates a coroutine method that returns its own object, whatever subclass that is."""

    _face = BoundMethod

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, Any]]) -> None: ...

        def __get__(self, obj: S, owner: type[S]) -> BoundMethod[P, S]: ...


def function(function: Callable[P, Coroutine[Any, Any, R]]) -> BoundMethod[P, R]:
    """Decorates a coroutine function that is no method: module functions, and remote constructors in classes."""
    return BoundMethod(function)


class Pure(_Typed2[P, R], _Face):
    """A function that asks nobody, or only in the caller's own thread. Its ``.aio`` exists because programs use it."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._function(*args, **kwargs)
        return result

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._function(*args, **kwargs)
        return result


def pure(function: Callable[P, R]) -> Pure[P, R]:
    """Decorates a function, or one of a class without ``self``, that does not use the library's loop."""
    return Pure(function)


class BoundOpened(_Typed2[P, R], _Face):
    """Like ``BoundMethod``, for ``opened``."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bridge.check_blocking(self._function)
        outcome = bridge.wait(self._function(*self._bound, *args, **kwargs))
        if outcome.error is not None:
            raise bridge.shown(outcome.error)
        try:
            result: R = outcome.value()
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            raise bridge.shown(exc)
        return result

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        sealed = await bridge.hop(self._function(*self._bound, *args, **kwargs))
        try:
            result: R = sealed()
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            raise bridge.shown(exc)
        return result


class opened(_Typed3[S, P, R], _Descriptor):
    """Decorates a method in three parts, see above."""

    _face = BoundOpened

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], Awaitable[Callable[[], R]]]) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundOpened[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundOpened[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


def opened_function(function: Callable[P, Awaitable[Callable[[], R]]]) -> BoundOpened[P, R]:
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
        return self

    def __next__(self) -> R:
        self._begun = True
        if self._over:
            raise StopIteration
        try:
            outcome = bridge.wait(self._source.__anext__())
            if outcome.error is None:
                item: R = outcome.value()
                return item
        except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
            self.close()
            raise bridge.shown(exc)
        self._over = True
        if isinstance(outcome.error, StopAsyncIteration):
            raise StopIteration
        raise bridge.shown(outcome.error)

    def close(self) -> None:
        if not self._over:
            self._over = True
            if self._begun:
                bridge.run(self._source.aclose())

    def __enter__(self) -> BlockingStream[R]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._begun:
            warnings.warn(f"the result of {self._name}(...) was never iterated, so nothing ran", stacklevel=2)
        elif not self._over and bridge.started():
            bridge.start(self._source.aclose())


async def hop_stream(source: AsyncGenerator[Callable[[], R], None]) -> AsyncIterator[R]:
    """An async generator of the library's loop, iterated from any loop."""
    try:
        while True:
            try:
                sealed = await bridge.hop(source.__anext__())
            except StopAsyncIteration:
                return
            try:
                item = sealed()
            except BaseException as exc:  # noqa: BLE001 - edge of user code: raised again without our frames
                raise bridge.shown(exc)
            yield item
    finally:
        await bridge.hop(source.aclose())


class BoundStream(_Typed2[P, R], _Face):
    """``for x in obj.m()`` and ``async for x in obj.m.aio()``."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> BlockingStream[R]:
        bridge.check_blocking(self._function)
        return BlockingStream(self._function.__qualname__, self._function(*self._bound, *args, **kwargs))

    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        return hop_stream(self._function(*self._bound, *args, **kwargs))


class stream(_Typed3[S, P, R], _Descriptor):
    """Decorates an async generator method whose items are called in the user's thread, see above."""

    _face = BoundStream

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], AsyncGenerator[Callable[[], R], None]]) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundStream[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundStream[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


def stream_function(function: Callable[P, AsyncGenerator[Callable[[], R], None]]) -> BoundStream[P, R]:
    """``stream`` for what is no method."""
    return BoundStream(function)


class BoundOwn(_Typed1[R], _Face):
    """``__iter__`` of an object that is its own iterator, in both worlds."""

    __slots__ = ()

    def __call__(self, /, *args: Any) -> Iterator[R]:
        bridge.check_blocking(self._function)
        found: Iterator[R] = self._function(*self._bound, *args)
        return found

    def aio(self, /, *args: Any) -> AsyncIterator[R]:
        found: AsyncIterator[R] = (*self._bound, *args)[0].__aiter__()
        return found


class own(_Typed1[R], _Descriptor):
    """Decorates an ``__iter__`` beside which there is an ``__aiter__``."""

    _face = BoundOwn

    if TYPE_CHECKING:

        def __init__(self, function: Callable[[Any], Iterator[R]]) -> None: ...

        def __get__(self, obj: Any, owner: Any) -> BoundOwn[R]: ...


class BoundPaged(_Typed2[P, R], _Face):
    """Like ``BoundStream``, but what comes from the library's loop are pages, whose parts are handed out one by one."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        bridge.check_blocking(self._function)
        return _leaf(BlockingStream(self._function.__qualname__, self._function(*self._bound, *args, **kwargs)))

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        async for page in hop_stream(self._function(*self._bound, *args, **kwargs)):
            for part in page:
                yield part


def _leaf(pages: BlockingStream[Iterable[R]]) -> Iterator[R]:
    with pages:
        for page in pages:
            yield from page


class paged(_Typed3[S, P, R], _Descriptor):
    """Decorates an async generator method whose items are called in the user's thread and give pages."""

    _face = BoundPaged

    if TYPE_CHECKING:

        def __init__(
            self, function: Callable[Concatenate[S, P], AsyncGenerator[Callable[[], Iterable[R]], None]]
        ) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundPaged[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundPaged[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


# -- context managers -------------------------------------------------------------------------------------


class Context(_Typed1[R]):
    """One object for ``with`` and ``async with``. The body runs at the user's, entering and leaving here."""

    def __init__(self, manager: AbstractAsyncContextManager[R, bool | None]) -> None:
        self._manager = manager

    def __enter__(self) -> R:
        return bridge.run(self._manager.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return bridge.run(self._manager.__aexit__(kind, exc, tb))

    async def __aenter__(self) -> R:
        return await bridge.hop(self._manager.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return await bridge.hop(self._manager.__aexit__(kind, exc, tb))


class BoundContext(_Typed2[P, R], _Face):
    """A method that returns a ``Context``; ``.aio`` is the same, for symmetry."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Context[R]:
        return Context(self._function(*self._bound, *args, **kwargs))

    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> Context[R]:
        return Context(self._function(*self._bound, *args, **kwargs))


class context(_Typed3[S, P, R], _Descriptor):
    """Decorates a method that returns an async context manager whose methods run on the library's loop."""

    _face = BoundContext

    if TYPE_CHECKING:

        def __init__(
            self, function: Callable[Concatenate[S, P], AbstractAsyncContextManager[R, bool | None]]
        ) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundContext[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundContext[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


def context_function(function: Callable[P, AbstractAsyncContextManager[R, bool | None]]) -> BoundContext[P, R]:
    """Decorates a function that is no method and returns such a context manager."""
    return BoundContext(function)


# -- maps: what consumes the user's iterators -----------------------------------------------------------------


class BoundResults(_Typed2[P, R], _Face):
    """``for x in f.map(xs)`` and ``async for x in f.map.aio(xs)``: one object serves both, at the user's."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        bridge.refuse_loop(self._function.__qualname__)
        results: Iterator[R] = self._function(*self._bound, *args, **kwargs)
        return results

    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        results: AsyncIterator[R] = self._function(*self._bound, *args, **kwargs)
        return results


class results(_Typed3[S, P, R], _Descriptor):
    """Decorates a method that returns ``results.Results``."""

    _face = BoundResults

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], results_module.Results[R]]) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundResults[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundResults[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...


class BoundEffect(_Typed2[P, R], _Face):
    """A map that is run for its effects: ``f.for_each(xs)`` and ``await f.for_each.aio(xs)``."""

    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bridge.refuse_loop(self._function.__qualname__)
        effect: results_module.Effect[R] = self._function(*self._bound, *args, **kwargs)
        return effect.blocking()

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        effect: results_module.Effect[R] = self._function(*self._bound, *args, **kwargs)
        return await effect.asynchronous()


class effect(_Typed3[S, P, R], _Descriptor):
    """Decorates a method that returns ``results.Effect``."""

    _face = BoundEffect

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[S, P], results_module.Effect[R]]) -> None: ...

        @overload
        def __get__(self, obj: None, owner: type[S]) -> BoundEffect[Concatenate[S, P], R]: ...
        @overload
        def __get__(self, obj: S, owner: type[S]) -> BoundEffect[P, R]: ...
        def __get__(self, obj: Any, owner: Any) -> Any: ...
