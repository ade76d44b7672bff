"""The very end of a container's process: threads of user code that are no daemons keep it alive, but not for ever.

Python waits for them by itself (and tells those of executors to end), so this only says what it waits for, and ends the
process when that takes too long.
"""
from __future__ import annotations

import _thread
import os
import sys
import threading
import time

PATIENCE = 30.0
_SOON = 1.0  # seconds after which it is worth a line in the log


def watch(code: int) -> None:
    """Call it last. ``code``: of the process, where it is ended."""
    if _left():
        _thread.start_new_thread(_wait, (code, time.monotonic()))


def _left() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]


def _wait(code: int, began: float) -> None:
    time.sleep(_SOON)
    names = ", ".join(sorted(thread.name for thread in _left()))
    if names:
        text = f"the container waits up to {PATIENCE:g} s for threads that still run: {names}"
        print(f"{text} (end them in an exit hook, or make them daemons)", file=sys.stderr, flush=True)
    time.sleep(max(0.0, began + PATIENCE - time.monotonic()))
    if _left():
        print("the container ends although threads still run", file=sys.stderr, flush=True)
        os._exit(code)
