"""The server's promises are tested with its real process and the fake peers of ``tests/server``."""
from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "server"))

import standing


@pytest.fixture
def act():
    """``act(scene)`` runs the coroutine function ``scene(server)`` against a fresh server process."""

    def run(scene, **settings):
        home = Path(tempfile.mkdtemp(prefix="w-pro-"))

        async def main():
            server = await standing.Standing(home, **settings).start()
            try:
                return await asyncio.wait_for(scene(server), 60)
            finally:
                server.stop()

        try:
            return asyncio.run(main())
        finally:
            shutil.rmtree(home, ignore_errors=True)

    return run
