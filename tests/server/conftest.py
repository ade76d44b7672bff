"""A real server in the test's own process and loop, on a real database and real sockets, with fake peers."""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fakes

from windlass.server import compose, settings


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="w-srv-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Platform:
    """A server that can be killed and started again, with a worker and a client."""

    def __init__(self, home: Path, **changes) -> None:
        self.settings = dataclasses.replace(settings.Settings(home=home, tick=0.05), **changes)
        self.home = home
        self.stack = contextlib.AsyncExitStack()

    async def start(self):
        self.core = await self.stack.enter_async_context(compose.server(self.settings))
        return self

    async def stop(self) -> None:
        await self.stack.aclose()

    async def worker(self, work, **more) -> fakes.Worker:
        return await fakes.Worker(self.home, work, **more).start()

    async def client(self) -> fakes.Client:
        return await fakes.Client(self.home).start()


@pytest.fixture
def play(home):
    """``play(scene)`` runs the coroutine function ``scene(platform)`` against a fresh server."""

    def run(scene, **changes):
        async def main():
            platform = await Platform(home, **changes).start()
            try:
                return await asyncio.wait_for(scene(platform), 20)
            finally:
                await platform.stop()

        return asyncio.run(main())

    return run
