"""Functions whose containers are counted."""

from __future__ import annotations

import os
import time

import windlass

app = windlass.App("test-pools")


def me() -> str:
    return os.environ["MODAL_TASK_ID"]


@app.function(max_containers=3)
def together(here: windlass.Dict, count: int) -> str:
    """Its container, once so many of them have come."""
    here[me()] = True
    while here.len() < count:
        time.sleep(0.05)
    return me()


@app.function(max_containers=3)
def held(gate: windlass.Queue) -> None:
    """Until something for it is in the gate."""
    gate.get(timeout=100)


@app.function(scaledown_window=4)
def brief() -> str:
    return me()


@app.function(min_containers=1, scaledown_window=2)
def kept() -> str:
    return me()


@app.function(buffer_containers=1, scaledown_window=3)
def buffered(seconds: float) -> str:
    time.sleep(seconds)
    return me()


@app.function(single_use_containers=True)
def once() -> str:
    return me()


calls = 0


@app.function(max_containers=1)
def warm() -> tuple[str, int]:
    global calls
    calls += 1
    return me(), calls


@app.function(scaledown_window=2)
def adjustable() -> str:
    return me()
