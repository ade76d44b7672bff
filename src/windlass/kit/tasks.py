"""Background tasks with a name, an owner and a rule for failure.

The only place that may create asyncio tasks (a lint rule holds it).
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

OnFailure = Callable[[str, BaseException], None]


class Tasks:
    """Owns the tasks it starts; leaving the ``async with`` block cancels and awaits them all.

    A task that fails is reported to ``on_failure`` (name, exception); without one the exception is re-raised
    in the event loop's exception handler, which is the process's last word.
    """

    def __init__(self, on_failure: OnFailure | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._on_failure = on_failure

    def start(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``coro`` in the background until it ends or the owner does."""
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (exc := task.exception()) is None:
            return
        if self._on_failure is not None:
            self._on_failure(task.get_name(), exc)
            return
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"background task {task.get_name()} failed", "exception": exc, "task": task}
        )

    async def close(self) -> None:
        """Cancel all and wait until they have ended."""
        while self._tasks:
            waiting = list(self._tasks)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def __aenter__(self) -> Tasks:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()
