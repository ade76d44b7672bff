"""The life of one container on this machine.

    starting ──► running ──► exited          an ``exited`` one is kept until the server no longer names it
        └─────────────────────►┘

Each is one task: open (or adopt), follow the output, wait for the end, read the output to its end, give back.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import containers, workers
from windlass.worker import inotify, streams
from windlass.worker.runtime import base

_log = logging.getLogger(__name__)


class Surroundings(NamedTuple):
    """What every life needs."""

    runtime: base.Runtime
    gate: asyncio.Semaphore
    """How many may start at once: on few cores, more at once only makes all of them late."""
    watcher: inotify.Inotify
    plan: Callable[[str], Awaitable[containers.ContainerPlan]]
    send: Callable[[str, int, list[workers.LogPiece]], Awaitable[None]]
    changed: Callable[[str], None]


class Life:
    """One container: what it is now, and what is asked of it."""

    def __init__(self, container_id: str, around: Surroundings, *, offset: int = 0) -> None:
        self.container_id = container_id
        self.state = "starting"
        self.exit: containers.ContainerExit | None = None
        self._around = around
        self._offset = offset
        self._running: base.Running | None = None
        self._asked = ""
        self._why = ""
        self._grace = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def reality(self) -> workers.ContainerReality:
        """What the server is told."""
        known: workers.ContainerReality = {"container_id": self.container_id, "state": self.state}
        if self.exit is not None:
            known["exit"] = self.exit
        return known

    def stop(self, grace: float) -> None:
        """SIGINT now, SIGKILL after ``grace`` seconds. Asking again changes nothing."""
        if self._asked:
            return
        self._asked, self._grace = "stop", grace
        self._act()

    def kill(self) -> None:
        """SIGKILL now."""
        self._asked = "kill"
        self._act()

    def lose(self, why: str) -> None:
        """SIGKILL now: something that it stands on is not what it should be. Its inputs run elsewhere."""
        self._why = why
        if self._running is not None:
            self._running.kill()

    async def run(self, *, adopt: bool) -> None:
        """From nothing, or from what an earlier worker left, to the end."""
        try:
            end = await self._live(adopt=adopt)
        except (exception.Error, OSError) as exc:
            end = self._unborn(exc, adopt=adopt)
        except Exception as exc:  # noqa: BLE001 - a defect here must not leave the server waiting for ever
            _log.exception("container %s", self.container_id)
            end = {"reason": "start_failed", "message": f"internal error: {type(exc).__name__}: {exc}"}
        if self._timer is not None:
            self._timer.cancel()
        if self._asked:
            end["reason"] = "stopped"
        elif self._why and end.get("reason") != "start_failed":
            end["reason"], end["message"] = "lost", self._why
        self._running, self.state, self.exit = None, "exited", end
        self._around.changed(self.container_id)

    async def _live(self, *, adopt: bool) -> containers.ContainerExit:
        around = self._around
        async with contextlib.AsyncExitStack() as stack:
            plan = None if adopt or self._asked else await self._plan()
            async with around.gate:
                if self._asked and not adopt:
                    return {"reason": "stopped"}
                opening = around.runtime.adopt(self.container_id) if plan is None else around.runtime.open(plan)
                running = await stack.enter_async_context(opening)
            tail = streams.Tail(running.log, offset=self._offset, watcher=around.watcher, send=self._send)
            await stack.enter_async_context(tail)
            self._running, self.state = running, "running"
            around.changed(self.container_id)
            self._act()
            end = await running.wait()
            await tail.finish()
            if end.get("exit_code") and not end.get("message"):
                end["message"] = tail.last
        return end

    async def _plan(self) -> containers.ContainerPlan:
        """What to make. What may take long before is waited for here, where nobody else's start has to wait, too."""
        plan = await self._around.plan(self.container_id)
        await self._around.runtime.prepare(plan)
        return plan

    async def _send(self, offset: int, entries: list[workers.LogPiece]) -> None:
        await self._around.send(self.container_id, offset, entries)

    def _unborn(self, exc: Exception, *, adopt: bool) -> containers.ContainerExit:
        if self.state == "running" or adopt:
            return {"reason": "lost", "message": str(exc)}
        _log.warning("container %s could not start: %s", self.container_id, exc)
        return {"reason": "start_failed", "message": str(exc)}

    def _act(self) -> None:
        if self._running is not None and self._why:
            self._running.kill()
        if self._running is None or not self._asked:
            return
        if self._asked == "kill":
            self._running.kill()
        elif self._timer is None:
            self._running.interrupt()
            self._timer = asyncio.get_running_loop().call_later(self._grace, self.kill)
