"""The one instance of a class in this process: its hooks run once, then its methods are plain Python."""
from __future__ import annotations

from windlass.client import source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from windlass.client import anatomy


class Instance:
    """``entered``: whether the enter hooks have run; exit hooks are the container's affair."""

    def __init__(self, instance: Any, found: anatomy.Anatomy) -> None:
        self.instance = instance
        self.anatomy = found
        self.entered = False

    def call(self, raw_f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """``raw_f`` on the instance, after its enter hooks. Where they are async, an async method waits for them."""
        if self.entered or not self._needs_loop():
            self._enter()
            return raw_f(self.instance, *args, **kwargs)
        is_generator, is_async = source.kind(raw_f)
        if is_async:
            return (self._items_later if is_generator else self._later)(raw_f, args, kwargs)
        _blocking(self._aenter())
        return raw_f(self.instance, *args, **kwargs)

    async def _later(self, raw_f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        await self._aenter()
        return await raw_f(self.instance, *args, **kwargs)

    async def _items_later(self, raw_f: Callable[..., Any], args: Any, kwargs: Any) -> AsyncIterator[Any]:
        await self._aenter()
        async for item in raw_f(self.instance, *args, **kwargs):
            yield item

    def _hooks(self) -> list[Any]:
        """Also the context manager's beginning, which classes of old have."""
        kind = type(self.instance)
        old = [getattr(kind, name) for name in ("__enter__", "__aenter__") if hasattr(kind, name)]
        hooks = [hook.raw_f for hook in (*self.anatomy.snap_enter, *self.anatomy.enter)]
        return [raw_f.__get__(self.instance, kind) for raw_f in (*old, *hooks)]

    def _needs_loop(self) -> bool:
        return any(source.kind(hook.__func__)[1] for hook in self._hooks())

    def _enter(self) -> None:
        if self.entered:
            return
        self.entered = True  # first: hooks may call methods
        try:
            for hook in self._hooks():
                hook()
        except BaseException:
            self.entered = False
            raise

    async def _aenter(self) -> None:
        if self.entered:
            return
        self.entered = True
        try:
            for hook in self._hooks():
                waiting = hook()
                if hasattr(waiting, "__await__"):
                    await waiting
        except BaseException:
            self.entered = False
            raise


def _blocking(coroutine: Any) -> None:
    """Run it to its end, in another thread where a loop runs in this one."""
    import asyncio
    import threading

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(coroutine)
        return
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as exc:  # noqa: BLE001 - the edge of user code: raised again in the caller's thread
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
