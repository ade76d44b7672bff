"""Bars for files on their way, where somebody looks and only for what takes longer than a moment.

The import of the terminal library alone takes as long as most files.
"""
from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from windlass.cli import tables

Tell = Callable[[str, int, int], None]
"""Called with the name of a file, bytes that are done, and all of them; by any thread."""

_MOMENT = 1.0  # seconds


@contextlib.contextmanager
def progress(title: str) -> Iterator[Tell]:
    """A bar for each file that is told of; nothing where no terminal is."""
    if not tables.is_terminal():
        yield lambda name, done, total: None
        return
    with contextlib.ExitStack() as stack:
        shown: list[Tell] = []
        drawing, over = threading.Lock(), False

        def show() -> None:
            with drawing:
                if not over:
                    from windlass.cli import render

                    shown.append(stack.enter_context(render.progress(title)))

        def tell(name: str, done: int, total: int) -> None:
            for told in shown:
                told(name, done, total)

        timer = threading.Timer(_MOMENT, show)
        timer.daemon = True
        timer.start()
        try:
            yield tell
        finally:
            timer.cancel()
            with drawing:
                over = True
