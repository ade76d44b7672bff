"""The starter of sandboxes, as a process."""
from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from windlass.worker.sandboxes import starting


def starters(folder: Path) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            words = (one / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(os.fsencode(folder)) for word in words):
            found.append(int(one.name))
    return found


@pytest.mark.parametrize("wait", [0.0, 0.05], ids=["at once", "while it begins"])
def test_one_that_nobody_has_spoken_with_goes_with_whoever_began_it(tmp_path: Path, wait: float) -> None:
    async def use() -> None:
        async with starting.Starting(tmp_path, tmp_path / "exits"):
            await asyncio.sleep(wait)

    asyncio.run(use())
    deadline = time.monotonic() + 10
    while left := starters(tmp_path):
        assert time.monotonic() < deadline, f"it waits still: {left}"
        time.sleep(0.02)
