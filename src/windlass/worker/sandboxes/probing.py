"""Readiness: asks a sandbox again and again until it says yes, for at most five minutes; once is enough."""
from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from windlass import exception
from windlass.kit import ids, tasks
from windlass.wire.messages import sandboxes as messages
from windlass.worker.sandboxes import box

_TIME = 300.0
_KEPT = "probe.json"
Ask = Callable[[str, list[str], str], Awaitable[int]]
Listens = Callable[[box.Home, int], Awaitable[bool]]


class Probes:
    """``run`` runs a command in a sandbox, ``listens`` says whether somebody does at a port; ``changed`` is told which
    sandbox is ready."""

    def __init__(self, owner: tasks.Tasks, run: Ask, listens: Listens, changed: Callable[[str], None]) -> None:
        self._owner = owner
        self._run = run
        self._listens = listens
        self._changed = changed
        self._begun: set[str] = set()
        self._ready: set[str] = set()

    def ready(self, container_id: str) -> bool:
        return container_id in self._ready

    def begin(self, home: box.Home) -> None:
        """Look after a sandbox that runs, if it was asked for."""
        container_id = home.folder.container_id
        probe = load(home.folder.path)
        if probe is None or container_id in self._begun:
            return
        self._begun.add(container_id)
        self._owner.start(self._look(home, probe), f"probe of {container_id}")

    def forget(self, container_id: str) -> None:
        self._begun.discard(container_id)
        self._ready.discard(container_id)

    async def _look(self, home: box.Home, probe: messages.ProbeSpec) -> None:
        loop, container_id = asyncio.get_running_loop(), home.folder.container_id
        end = loop.time() + _TIME
        while loop.time() < end and container_id in self._begun:
            if await self._yes(home, probe):
                self._ready.add(container_id)
                self._changed(container_id)
                return
            await asyncio.sleep(max(0.01, probe.get("interval", 0.1)))

    async def _yes(self, home: box.Home, probe: messages.ProbeSpec) -> bool:
        if port := probe.get("port"):
            return await self._listens(home, port)
        try:
            return await self._run(home.folder.container_id, probe.get("argv", []), ids.new("ex")) == 0
        except exception.Error:
            return False


def keep(folder: Path, probe: messages.ProbeSpec) -> None:
    (folder / _KEPT).write_text(json.dumps(probe))


def load(folder: Path) -> messages.ProbeSpec | None:
    with contextlib.suppress(FileNotFoundError):
        found: messages.ProbeSpec = json.loads((folder / _KEPT).read_text())
        return found
    return None
