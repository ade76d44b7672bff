"""A real server process on a home of its own, that tests may kill."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fakes

from windlass import paths


class Standing:
    def __init__(self, home: Path, **settings) -> None:
        self.home = home
        self.environment = {**os.environ, "WINDLASS_SERVER_TICK": "0.05"}
        for name, value in settings.items():
            self.environment[f"WINDLASS_SERVER_{name.upper()}"] = str(value)

    async def start(self) -> Standing:
        command = [sys.executable, "-m", "windlass.server", "--home", str(self.home)]
        self.process = subprocess.Popen(command, env=self.environment)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError("the server did not start")
            try:
                peer = await fakes.connect(paths.server_socket(self.home), role="user")
                peer.close()
                return self
            except (OSError, ConnectionError):
                await asyncio.sleep(0.01)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    async def restart(self) -> None:
        self.kill()
        await self.start()
