"""Functions whose containers take several inputs at once, or inputs in batches."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import windlass
from windlass import experimental

app = windlass.App("test-crowds")
mine: contextvars.ContextVar[Any] = contextvars.ContextVar("mine", default=None)


def here() -> str:
    return os.environ["MODAL_TASK_ID"]


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=100)
async def nap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=20)
def thread_nap(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
    return here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=50)
async def who(n: int) -> tuple[Any, ...]:
    mine.set(n)
    before = windlass.current_input_id(), windlass.current_function_call_id()
    for _ in range(5):
        await asyncio.sleep(0.01)
    return (*before, mine.get(), windlass.current_input_id(), windlass.current_function_call_id())


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=50)
def thread_who(n: int) -> tuple[Any, ...]:
    mine.set(n)
    before = windlass.current_input_id(), windlass.current_function_call_id()
    for _ in range(5):
        time.sleep(0.01)
    return (*before, mine.get(), windlass.current_input_id(), windlass.current_function_call_id())


@app.function(max_containers=1, timeout=4)
@windlass.concurrent(max_inputs=10)
async def timed(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return here()


@app.function(max_containers=1, timeout=4)
@windlass.concurrent(max_inputs=10)
def thread_timed(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
    return here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=10)
def stubborn(seconds: float) -> str:
    time.sleep(seconds)
    return here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=10)
async def count(n: int) -> AsyncIterator[tuple[int, str]]:
    for i in range(n):
        await asyncio.sleep(0.01)
        yield i, here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=10)
def thread_count(n: int) -> Iterator[tuple[int, str]]:
    for i in range(n):
        time.sleep(0.01)
        yield i, here()


@app.function(max_containers=3)
@windlass.concurrent(max_inputs=10, target_inputs=5)
async def spread(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return here()


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=10)
async def leaver(code: int) -> str:
    if code:
        sys.exit(code)
    await asyncio.sleep(1)
    return here()


@app.cls(max_containers=1)
@windlass.concurrent(max_inputs=20)
class Shared:
    @windlass.enter()
    def enter(self) -> None:
        self.entered = time.monotonic()

    @windlass.method()
    async def later(self, seconds: float) -> tuple[str, float]:
        await asyncio.sleep(seconds)
        return here(), self.entered

    @windlass.method()
    def now(self, seconds: float) -> tuple[str, float]:
        time.sleep(seconds)
        return here(), self.entered


batches: list[int] = []


@app.function(max_containers=1)
@windlass.batched(max_batch_size=5, wait_ms=1000)
def add(x: list[int], y: list[int]) -> list[tuple[int, int]]:
    return [(a + b, len(x)) for a, b in zip(x, y, strict=True)]


@app.function(max_containers=1, retries=windlass.Retries(max_retries=2, initial_delay=1.0))
@windlass.batched(max_batch_size=5, wait_ms=200)
def fragile(how: list[str]) -> list[Any]:
    batches.append(len(how))
    if "once" in how and len(batches) == 1:
        raise ValueError("the whole batch")
    if "short" in how:
        return how[1:]
    return [len(batches)] * len(how)


@app.function(max_containers=1)
@windlass.batched(max_batch_size=3, wait_ms=200)
def wrong(how: list[str]) -> Any:
    if how[0] == "short":
        return how[1:]
    if how[0] == "none":
        return None
    raise LookupError(how[0])


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=4)
@windlass.batched(max_batch_size=5, wait_ms=500)
async def both(seconds: list[float]) -> list[int]:
    await asyncio.sleep(max(seconds))
    return [len(seconds)] * len(seconds)


@app.cls(max_containers=1)
class Batched:
    @windlass.enter()
    def enter(self) -> None:
        self.base = 1000

    @windlass.batched(max_batch_size=4, wait_ms=500)
    def plus(self, x: list[int]) -> list[tuple[int, int]]:
        return [(self.base + one, len(x)) for one in x]


@app.function(max_containers=1)
@windlass.batched(max_batch_size=4, wait_ms=200)
async def batch_nap(seconds: list[float]) -> list[str]:
    await asyncio.sleep(max(seconds))
    return [here()] * len(seconds)


running = 0


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=20)
async def narrowed(count: int, seconds: float) -> tuple[int, int]:
    """How many may run beside this one, and how many did at most."""
    global running
    if count:
        experimental.set_local_input_concurrency(count)
    running += 1
    most = running
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.02)
        most = max(most, running)
    running -= 1
    return experimental.get_local_input_concurrency(), most
