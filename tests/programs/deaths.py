"""Functions whose containers die."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import windlass

app = windlass.App("test-deaths")


@app.function(memory=(64, 160))
def devour(mib: int) -> int:
    hoard = []
    for _ in range(mib):
        hoard.append(b"x" * (1 << 20))
    return len(hoard)


@app.function()
def leave(how: str) -> None:
    print("famous last words", flush=True)
    if how == "exit":
        os._exit(7)
    if how == "signal":
        signal.raise_signal(signal.SIGABRT)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "sys.exit":
        sys.exit(9)


@app.function(cpu=(0.125, 0.5))
def burn(seconds: float) -> float:
    """Processor seconds that were to be had in so many seconds."""
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        pass
    return time.process_time() - used


@app.function()
def fork_bomb() -> int:
    """How many processes may be had."""
    children = []
    try:
        for _ in range(100_000):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    return len(children)
