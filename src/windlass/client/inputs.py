"""The arguments of each input of a map, read lazily from the user's iterables.

Iterate with ``for`` or ``async for``; each item is ``(args, kwargs)``.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from windlass import exception


class Zipped:
    """One iterable for each positional parameter; the shortest ends the map."""

    def __init__(self, iterables: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._iterables = iterables
        self._kwargs = kwargs

    def __iter__(self) -> Iterator[Any]:
        for iterable in self._iterables:
            _check(iterable)
        for args in zip(*self._iterables, strict=False):
            yield args, self._kwargs

    async def __aiter__(self) -> AsyncIterator[Any]:
        sources = [_as_async(iterable) for iterable in self._iterables]
        while sources:
            row = []
            for source in sources:
                try:
                    row.append(await source.__anext__())
                except StopAsyncIteration:
                    return
            yield tuple(row), self._kwargs


class Starred:
    """Each item is unpacked into the positional arguments."""

    def __init__(self, iterable: Any, kwargs: dict[str, Any]) -> None:
        self._iterable = iterable
        self._kwargs = kwargs

    def __iter__(self) -> Iterator[Any]:
        _check(self._iterable)
        for item in self._iterable:
            yield tuple(item), self._kwargs

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for item in _as_async(self._iterable):
            yield tuple(item), self._kwargs


def _check(iterable: Any) -> None:
    if hasattr(iterable, "__aiter__") and not hasattr(iterable, "__iter__"):
        raise exception.InvalidError("an async iterable can only be mapped by the .aio form of the method")


async def _as_async(iterable: Any) -> AsyncIterator[Any]:
    if hasattr(iterable, "__aiter__"):
        async for item in iterable:
            yield item
    else:
        for item in iterable:
            yield item
