"""Programs on this machine: which one it is, and word of its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """``began``: when, and since which start of the machine, so that no later program is taken for it."""

    number: int
    began: str


def of(number: int) -> Process | None:
    """The program of that number; None where there is none, or it has ended, or cannot be seen from here."""
    if number <= 0:
        return None
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return None if fields[0] in "ZX" else Process(number, f"{boot} {fields[19]}")


class Ends:
    """Tells once when programs end. Lives on the running loop."""

    def __init__(self) -> None:
        self._watched: dict[Process, tuple[int, list[Callable[[], None]]]] = {}

    def tell(self, process: Process, callback: Callable[[], None]) -> None:
        """Call back when it has ended, in a later turn of the loop."""
        if (known := self._watched.get(process)) is not None:
            known[1].append(callback)
            return
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(process.number)
        except ProcessLookupError:
            loop.call_soon(callback)
            return
        if of(process.number) != process:  # looked at while the descriptor holds whoever has that number now
            os.close(descriptor)
            loop.call_soon(callback)
            return
        self._watched[process] = (descriptor, [callback])
        loop.add_reader(descriptor, self._ended, process)

    def _ended(self, process: Process) -> None:
        callbacks = self._forget(process)
        for callback in callbacks:
            callback()

    def _forget(self, process: Process) -> list[Callable[[], None]]:
        descriptor, callbacks = self._watched.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        return callbacks

    def clear(self) -> None:
        """Watch nothing any more."""
        with contextlib.suppress(RuntimeError):  # no loop, no readers
            for process in list(self._watched):
                self._forget(process)
