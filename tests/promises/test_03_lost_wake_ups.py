"""Losing every wake-up makes the system slow, never wrong: each loop also ticks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from stage import Stage

DEAF = """
import sys

if "windlass.server" in sys.orig_argv:
    from windlass.server.apply import containers
    from windlass.server.bus import signal

    signal.Signal.set = lambda self: None
    real, count = containers.send_want, 0

    def half_of_them(*arguments, **keywords):
        global count
        count += 1
        if count % 2:
            return real(*arguments, **keywords)

    containers.send_want = half_of_them
"""

PROGRAM = """
import modal

app = modal.App("test-deaf")

@app.function(max_containers=2, retries=1)
def double(x):
    if x == 13:
        raise ValueError("thirteen")
    return 2 * x

@app.function()
def outer(n):
    return sum(double.map(range(n)))

@app.local_entrypoint()
def main():
    assert double.remote(1) == 2
    assert list(double.map(range(10))) == [2 * x for x in range(10)]
    assert outer.remote(5) == 20
    call = double.spawn(13)
    try:
        call.get(timeout=30)
    except ValueError as exc:
        print("FAILED AS IT SHOULD:", exc)
    print("ALL RIGHT")
"""


@pytest.fixture(scope="module")
def deaf():
    """A second platform without isolation, whose server never hears a wake-up and sends half of its wanted sets."""
    with tempfile.TemporaryDirectory(prefix="wl-deaf-") as folder:
        (Path(folder) / "sitecustomize.py").write_text(DEAF)
        platform = Stage(Path(folder) / "home", WINDLASS_RUNTIME="process", PYTHONPATH=folder)
        platform.start()
        try:
            yield platform
        finally:
            platform.stop()


def test_everything_still_ends_rightly(deaf, program):
    ran = deaf.cli("run", program("deaf.py", PROGRAM), timeout=120, check=0)
    assert "FAILED AS IT SHOULD: thirteen" in ran.out and "ALL RIGHT" in ran.out
