"""Giving back what a container holds: when its life is over, but not when only the worker's is."""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_end(give_back: Callable[[], object]) -> Iterator[None]:
    """Call ``give_back`` on leaving, except by cancellation: then the worker ends, the container goes on, and the
    next worker adopts what is still held."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException:
        give_back()
        raise
    else:
        give_back()
