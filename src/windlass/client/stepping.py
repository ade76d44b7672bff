"""Coroutines that only ask the platform, without an event loop: each question is waited for where it is asked.

    run(make) ──► make() ── step ──► await current().request(…) ──► result
                                     a ``direct`` connection answers at once, so one step is all

A command that lists or moves a file asks three or four things, one after the other; importing an event loop and a
session would cost it more than all of them. What is written for both asks ``current()``, and begins, limits and hands
over through ``crew``, ``within``, ``gate`` and ``aside``. Where the platform needs patience, or is on another machine,
the same runs in the process's session, from its beginning.
"""
from __future__ import annotations

import contextlib
import contextvars
import time

from windlass import exception
from windlass.client import address, bridge, direct, here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
    from typing import Any, ParamSpec, Protocol, TypeVar

    from windlass.wire import codec

    P = ParamSpec("P")
    R = TypeVar("R")

    class Reply(Protocol):
        @property
        def body(self) -> Any: ...

        @property
        def attachments(self) -> list[bytes]: ...

    class Asked(Protocol):
        """A session, or what stands for it."""

        @property
        def is_beside(self) -> bool: ...

        async def request(self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()) -> Reply: ...

        def stream(
            self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()
        ) -> AsyncGenerator[Reply, None]: ...

    class Crew(Protocol):
        def start(self, coro: Coroutine[Any, Any, R], name: str) -> Awaitable[R]: ...


_MOST = 128  # that one crew begins; who has more of them should not wait for each


class Lost(Exception):
    """The session should be asked, from the beginning."""


def run(make: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """The result of the coroutine that ``make`` makes. What it changes must bear being done again: it may run twice."""
    where = address.of_process()
    if where.socket and here.plan is None:
        with contextlib.suppress(Lost), contextlib.ExitStack() as stack:
            with _told(limited=False):
                line = stack.enter_context(direct.connected(where.socket, where.hello, home=where.home))
            return _stepped(make(), line)
    return bridge.run(make())


@contextlib.contextmanager
def _told(*, limited: bool) -> Iterator[None]:
    """What needs patience, as ``Lost``: other errors of the system are about the caller's files. ``limited``: the
    caller said how long something may take."""
    try:
        yield
    except exception.ThrottledError as exc:
        raise Lost from exc
    except exception.Error:  # an answer; some, as TimeoutError, are OSErrors, too
        raise
    except OSError as exc:
        if limited and isinstance(exc, TimeoutError):
            raise
        raise Lost from exc


def _stepped(coro: Coroutine[Any, Any, R], line: direct.Connection) -> R:
    token = _line.set(line)
    try:
        coro.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    except Lost:
        raise
    except BaseException as exc:  # noqa: BLE001 - every error belongs to the caller
        raise bridge.shown(exc)
    finally:
        _line.reset(token)
    coro.close()
    raise AssertionError("it waited for something else than the platform")


_line: contextvars.ContextVar[direct.Connection | None] = contextvars.ContextVar("line", default=None)


def current() -> Asked:
    """Who is asked here."""
    if (line := _line.get()) is not None:
        return _Line(line)
    from windlass.client import session

    return session.current()


class _Line:
    """A connection, as coroutines ask it."""

    is_beside = True

    def __init__(self, line: direct.Connection) -> None:
        self._line = line

    async def request(self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()) -> Reply:
        with _told(limited=True):
            return self._line.ask(method, body, attachments)

    async def stream(
        self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()
    ) -> AsyncGenerator[Reply, None]:
        items = self._line.follow(method, body, attachments)
        while True:
            with _told(limited=True):
                item = next(items, None)
            if item is None:
                return
            yield item


async def aside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call what reads or writes files, beside the event loop where there is one."""
    if _line.get() is not None:
        return function(*args, **kwargs)
    import asyncio

    return await asyncio.to_thread(function, *args, **kwargs)


async def pause(seconds: float) -> None:
    """Wait."""
    if _line.get() is not None:
        time.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)


async def within(seconds: float, coro: Coroutine[Any, Any, R]) -> R:
    """Raises the built-in ``TimeoutError``."""
    if (line := _line.get()) is not None:
        with line.limit(seconds):
            return await coro
    import asyncio

    try:
        return await asyncio.wait_for(coro, seconds)
    except asyncio.TimeoutError:  # before Python 3.11, another one
        raise TimeoutError from None


def gate(most: int) -> contextlib.AbstractAsyncContextManager[Any]:
    """Lets so many in at once."""
    if _line.get() is not None:
        return contextlib.nullcontext()
    import asyncio

    return asyncio.Semaphore(most)


def crew() -> contextlib.AbstractAsyncContextManager[Crew]:
    """Begins what shall go on at once. Leaving the block ends what is left of it."""
    if _line.get() is not None:
        return _InTurn()
    from windlass.kit import tasks

    return tasks.Tasks(lambda name, exc: None)


class _InTurn(contextlib.AbstractAsyncContextManager["_InTurn"]):
    """Each begins when it is waited for."""

    def __init__(self) -> None:
        self._begun: list[Coroutine[Any, Any, Any]] = []

    def start(self, coro: Coroutine[Any, Any, R], name: str) -> Awaitable[R]:
        self._begun.append(coro)
        if len(self._begun) > _MOST:
            raise Lost("this is work for an event loop")
        return coro

    async def __aexit__(self, *failure: object) -> None:
        for coro in self._begun:
            coro.close()
