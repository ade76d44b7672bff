"""Brings objects into being: dependencies first, each once, independent ones side by side."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any

from windlass import exception
from windlass.client import object as objects
from windlass.client import output, session
from windlass.kit import tasks
from windlass.wire.messages import deployments, functions


class Context:
    """What loading an object may use.

    ``app_id`` and ``app_name`` are None outside of a running app; ``environment`` is "" for the default one.
    ``parts``: where functions are collected that are published together, instead of being created one by one.
    """

    def __init__(
        self,
        session: session.Session,
        *,
        app_id: str | None = None,
        app_name: str | None = None,
        environment: str = "",
        show: output.Output | None = None,
        parts: dict[str, deployments.Part] | None = None,
    ) -> None:
        self.session = session
        self.app_id = app_id
        self.app_name = app_name
        self.environment = environment
        self.output = show or output.current()
        self._parts = parts
        self._loads: dict[int, asyncio.Task[None]] = {}
        self._made: dict[Hashable, asyncio.Task[Any]] = {}
        self._kept: list[objects.Object] = []  # keeps ids of ``_loads`` unique while the context lives
        self._tasks = tasks.Tasks(on_failure=lambda name, exc: None)  # whoever awaits a load sees its failure

    async def load(self, obj: objects.Object, *, again: bool = False) -> None:
        """Hydrate ``obj`` after everything it depends on. ``again``: even if it has an id already."""
        if obj._object_id is not None and id(obj) not in self._loads and not again:
            return
        task = self._loads.get(id(obj))
        if task is None:
            self._kept.append(obj)
            task = self._loads[id(obj)] = self._tasks.start(self._load(obj), f"load {obj._describe()}")
        await asyncio.shield(task)

    async def load_all(self, objects: Iterable[objects.Object], *, again: bool = False) -> None:
        """Hydrate several, side by side. The first failure is raised and the others are given up."""
        loads = [self.load(obj, again=again) for obj in objects]
        if loads:
            await asyncio.gather(*loads)

    async def create(self, body: functions.FunctionCreate) -> functions.FunctionInfo:
        """Bring a function into being, or into the version of its app that is going to be published."""
        spec = body["spec"]
        if self._parts is None:
            info: functions.FunctionInfo = (await self.session.request("function.create", body)).body
            return info
        self._parts[spec["tag"]] = {"function_id": body["function_id"], "spec": spec}
        return {
            "function_id": body["function_id"], "app_id": body["app_id"], "tag": spec["tag"],
            "is_generator": spec["is_generator"],
        }  # fmt: skip

    async def once(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """The result of ``make``, called for the first of all with the same ``key``."""
        task = self._made.get(key)
        if task is None:
            task = self._made[key] = self._tasks.start(_awaited(make), f"make {key!r}")
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up whatever still loads."""
        await self._tasks.close()

    async def _load(self, obj: objects.Object) -> None:
        await self.load_all(obj._deps())
        await obj._load(self)
        if obj._object_id is None:
            raise exception.ExecutionError(f"{obj._describe()} was loaded but has no id")


async def _awaited(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()


async def load(obj: objects.Object) -> None:
    """Hydrate a lazy handle outside of any app."""
    context = Context(session.current())
    try:
        await context.load(obj)
    finally:
        await context.close()
