"""A command that the starter has under way, and what it holds of it."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Sequence

from windlass.worker.sandboxes import entering
from windlass.worker.snapshots import keeper


class Child:
    """A command under way: ``keeper.Fork``'s part for its log, and who is told of its end."""

    def __init__(self, name: str, first: int, talk: socket.socket | None) -> None:
        self.name = name
        self.first = first
        self.talk = talk
        """Who asked for it; None for a sandbox's own command, whose end is told by a file."""
        self.pid = self.handle = -1
        self.log: keeper.Fork | None = None
        self.pipes: dict[int, bytes] = {}
        self.input = -1
        """Our end of its stdin: as long as it is open, so is its input."""
        self.terminal = self.source = -1
        """Our end of its terminal, and the pipe whose bytes become input there."""
        self.typed = b""
        self.kept: list[int] = []
        """The worker's descriptors of it, in custody: its input first, as long as that is open."""
        self.has_input = False
        self.note: object = None
        """What the worker wants to know of it then."""

    def on_terminal(self, source: int) -> list[int]:
        """Give it a terminal, whose input comes from the pipe ``source``; what the command gets."""
        self.terminal, slave = entering.terminal(self.first)
        entering.resize(self.terminal, entering.ROWS, entering.COLS)
        self.pipes = {os.dup(self.terminal): b"stdout"}
        os.set_blocking(self.terminal, False)
        self.source = source
        os.set_blocking(source, False)
        return [slave]

    def drop(self) -> None:
        """It never began."""
        log = -1 if self.log is None else self.log.log
        self.release()
        for descriptor in (*self.pipes, self.input, log, self.terminal, self.source):
            if descriptor >= 0:
                os.close(descriptor)

    def keep(self, descriptors: Sequence[int], note: object) -> None:
        """Take these into custody. Raises ``OSError``, and has none of them then."""
        try:
            for descriptor in descriptors:
                self.kept.append(os.dup(descriptor))
        except OSError:
            self.release()
            raise
        self.note, self.has_input = note, bool(self.kept)

    def end_input(self) -> None:
        """Of a command in custody."""
        if self.has_input:
            os.close(self.kept.pop(0))
            self.has_input = False

    def empty(self, stream: int, null: int) -> None:
        """All of a stream is in its file: what is kept of its pipe from now on is only that it has ended. Pipes are
        large, and their user may have few of that size."""
        place = int(self.has_input) + 2 * stream
        if place < len(self.kept):
            os.dup2(null, self.kept[place], inheritable=False)

    def release(self) -> None:
        """Give up custody."""
        for descriptor in self.kept:
            os.close(descriptor)
        self.kept, self.has_input = [], False

    def kill(self) -> None:
        """And all of its group, once it has one."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
