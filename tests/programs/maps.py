"""Functions to be mapped."""

from __future__ import annotations

import os
import time

import windlass

app = windlass.App("test-maps")


@app.function(max_containers=4)
def square(x: int) -> int:
    return x * x


@app.function(max_containers=4)
def late_first(x: int) -> int:
    """The smaller, the later."""
    time.sleep(max(0.0, 0.6 - 0.2 * x))
    return x


@app.function(max_containers=4)
def zero_waits(x: int, gate: windlass.Queue) -> int:
    """What ``x`` is; of 0 only when somebody has put something into the gate."""
    if x == 0:
        gate.get(timeout=100)
    return x


@app.function(max_containers=2)
def picky(x: int) -> int:
    if x % 3 == 2:
        raise ValueError(f"not {x}")
    return x


@app.function(max_containers=2)
def slow_unless_bad(x: int) -> int:
    if x == 0:
        raise ValueError("the first is bad")
    time.sleep(60)
    return x


@app.function(max_containers=2)
def weighted(x: int, y: int = 0, *, factor: int = 1) -> int:
    return (x + y) * factor


@app.function()
def task(_: int) -> str:
    return os.environ["MODAL_TASK_ID"]


@app.function()
def inside(n: int) -> list[int]:
    return list(square.map(range(n)))


@app.function()
def never_called(x: int) -> int:
    return x


@app.function()
def generator(x: int):
    yield x
