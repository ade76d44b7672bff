"""Functions that go on while parts of the platform are killed."""

from __future__ import annotations

import os
import time

import windlass

app = windlass.App("test-survivors")


@app.function(max_containers=4)
def double(x: int) -> int:
    time.sleep(0.02)
    return 2 * x


@app.function(max_containers=1)
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["MODAL_TASK_ID"]


@app.function(max_containers=2)
def fail_or_not(x: int) -> int:
    time.sleep(0.05)
    if x % 5 == 0:
        raise ValueError(str(x))
    return x


@app.function()
def count(n: int):
    for i in range(n):
        yield i
        time.sleep(0.01)


@app.function(max_containers=1)
def talk(n: int) -> None:
    for i in range(n):
        print(f"talk {i:04}", flush=True)
        time.sleep(0.01)
