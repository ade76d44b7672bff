"""Layers under way on this machine: each build the server wants is one task; its result is told once it counts."""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from windlass import exception
from windlass.kit import lines, tasks
from windlass.wire.messages import workers
from windlass.worker.runtime import base

_COALESCE = 0.05  # seconds that log text is gathered before it is sent
_PIECE = 256 * 1024  # characters of log text in one message
_log = logging.getLogger(__name__)

Call = Callable[[str, Any], Awaitable[Any]]


class Builds:
    """Compares wanted builds with those under way."""

    def __init__(self, runtime: base.Runtime, *, call: Call, owner: tasks.Tasks) -> None:
        self._runtime = runtime
        self._call = call
        self._owner = owner
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def want(self, wanted: Collection[str]) -> None:
        """Begin what is new, stop what is no longer wanted."""
        for build_id in [known for known in self._tasks if known not in wanted]:
            self._tasks.pop(build_id).cancel()
        for build_id in wanted:
            if build_id not in self._tasks:
                self._tasks[build_id] = self._owner.start(self._build(build_id), f"build {build_id}")

    def names(self) -> list[str]:
        return [build_id for build_id, task in self._tasks.items() if not task.done()]

    async def _build(self, build_id: str) -> None:
        result: workers.BuildResult = {"build_id": build_id, "error": None}
        try:
            plan: workers.BuildPlan = await self._call("build.plan", {"build_id": build_id})
            async with _Log(build_id, self._call) as log:
                result["meta"] = await self._runtime.build(plan, log.write)
        except (exception.Error, OSError) as exc:
            result["error"] = str(exc) or type(exc).__name__
        except Exception as exc:  # noqa: BLE001 - a defect must not leave the caller waiting for ever
            _log.exception("build %s", build_id)
            result["error"] = f"internal error: {type(exc).__name__}: {exc}"
        await self._tell(result)

    async def _tell(self, result: workers.BuildResult) -> None:
        try:
            await self._call("build.result", result)
        except exception.Error as exc:
            _log.warning("the server refused the result of build %s: %s", result["build_id"], exc)
            if result["error"] is None:  # a record that it cannot take: then those who wait learn of a failure
                why = f"internal error: the record of the layer was refused: {exc}"
                await self._tell({"build_id": result["build_id"], "error": why})


class _Log:
    """Gathers text and sends it in order; leaving the block sends the rest."""

    def __init__(self, build_id: str, call: Call) -> None:
        self._build_id = build_id
        self._call = call
        self._text: list[str] = []
        self._tasks = tasks.Tasks()
        self._sending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    def write(self, text: str) -> None:
        self._text.append(text)
        if self._sending is None or self._sending.done():
            self._sending = self._tasks.start(self._send(), f"log of build {self._build_id}")

    async def _send(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _COALESCE)
        while self._text:
            text, self._text = "".join(self._text), []
            for part in lines.parts(text, _PIECE):
                await self._call("build.log", {"build_id": self._build_id, "text": part})

    async def __aenter__(self) -> _Log:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            self._ended.set()
            if self._sending is not None:
                await self._sending
            await self._send()
        await self._tasks.close()
