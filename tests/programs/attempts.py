"""Functions that are tried again, run out of time, or are stopped."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import windlass

app = windlass.App("test-attempts")
marks = windlass.Dict.from_name("test-attempts", create_if_missing=True)
tried: dict[str, list[float]] = {}
events: list[str] = []


@app.function(retries=windlass.Retries(max_retries=3, initial_delay=1.0, backoff_coefficient=2.0), max_containers=1)
def third_time(key: str) -> list[float]:
    """Succeeds at the third attempt; says when each began."""
    times = tried.setdefault(key, [])
    times.append(time.monotonic())
    if len(times) < 3:
        raise ValueError(f"attempt {len(times)}")
    return times


@app.function(retries=2, max_containers=1)
def never(key: str) -> None:
    tried.setdefault(key, []).append(0)
    if key == "?":
        raise LookupError(f"{ {k: len(v) for k, v in tried.items()} }")
    raise ValueError(f"attempt {len(tried[key])}")


@app.function(timeout=1, max_containers=1)
def overlong(how: str) -> str:
    if how == "sleep":
        time.sleep(100)
    if how == "spin":
        while True:
            pass
    if how == "stubborn":
        while True:
            try:
                time.sleep(100)
            except BaseException:
                pass
    return os.environ["MODAL_TASK_ID"]


@app.function(timeout=1, max_containers=1)
async def overlong_async() -> None:
    await asyncio.sleep(100)


@app.function(timeout=1, retries=1, max_containers=1)
def slow_once(key: str) -> int:
    tried.setdefault(key, []).append(0)
    if len(tried[key]) == 1:
        time.sleep(100)
    return len(tried[key])


@app.function(max_containers=1)
def work(how: str) -> Any:
    """Runs until it is cancelled, and notes in the container what it saw."""
    if how == "look":
        seen = list(events)
        events.clear()
        return os.environ["MODAL_TASK_ID"], seen
    try:
        marks[windlass.current_function_call_id()] = "begun"
        if how == "sleep":
            time.sleep(1000)
        while how == "spin":
            pass
        if how == "swallow":
            try:
                time.sleep(1000)
            except Exception:
                events.append("caught by except Exception")
        if how == "lock":
            import threading

            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
    except BaseException as exc:
        events.append(type(exc).__name__)
        raise
    return None


@app.function(max_containers=1)
async def async_work(how: str) -> Any:
    if how == "look":
        seen = list(events)
        events.clear()
        return os.environ["MODAL_TASK_ID"], seen
    try:
        await marks.put.aio(windlass.current_function_call_id(), "begun")
        await asyncio.sleep(1000)
    except BaseException as exc:
        events.append(type(exc).__name__)
        raise


@app.function(max_containers=1)
def stream(n: int) -> Iterator[Any]:
    if n < 0:
        yield list(events)
        return
    try:
        for i in range(n):
            yield i
            time.sleep(0.02)
    except BaseException as exc:
        events.append(type(exc).__name__)
        raise


@app.function(max_containers=1)
async def async_stream(n: int) -> AsyncIterator[Any]:
    if n < 0:
        yield list(events)
        return
    try:
        for i in range(n):
            yield i
            await asyncio.sleep(0.02)
    except BaseException as exc:
        events.append(type(exc).__name__)
        raise


@app.function(max_containers=2)
def pair(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["MODAL_TASK_ID"]
