"""Functions of each form."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import windlass

app = windlass.App("test-calls")


@app.function()
def add(a: int, b: int = 1, *, scale: int = 1) -> int:
    return (a + b) * scale


@app.function()
async def async_add(a: int, b: int) -> int:
    await asyncio.sleep(0.001)
    return a + b


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def async_count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@app.function()
def broken_count(n: int) -> Iterator[int]:
    yield from range(n)
    raise KeyError("after the last")


@app.function(is_generator=True)
def plain_count(n: int) -> Any:
    return iter(range(n))


@app.function()
def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@app.function()
def zeros(size: int) -> bytes:
    return bytes(size)


@app.function()
def echo(value: Any) -> Any:
    return value


@app.function()
def fan_out(n: int) -> int:
    return sum(add.map(range(n)))


@app.function()
def relay(n: int) -> list[int]:
    """A generator called from inside."""
    return list(count.remote_gen(n))


@app.function()
def spawn_one(n: int) -> Any:
    """A handle as result."""
    return add.spawn(n, b=10)


@app.function()
def collect(call: Any) -> Any:
    """A handle as argument."""
    return call.get()


@app.function()
def call_it(function: Any, value: Any) -> Any:
    return function.remote(value)


@app.function()
def where() -> dict[str, Any]:
    return {
        "local": windlass.is_local(),
        "input": windlass.current_input_id(),
        "call": windlass.current_function_call_id(),
        "cwd": os.getcwd(),
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "task": os.environ.get("MODAL_TASK_ID"),
        "remote": os.environ.get("MODAL_IS_REMOTE"),
        "file": __file__,
        "module": __name__,
    }
