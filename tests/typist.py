"""Somebody at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

import stage as stages

_MOVES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[^\[])")  # of the cursor: progress shows them amid a program's text


class Typist:
    """Somebody at a terminal of 33 rows and 99 columns in which a command runs."""

    def __init__(self, stage: stages.Stage, *arguments: str, program: Sequence[str] = stages.COMMAND) -> None:
        self.master, slave = pty.openpty()
        self.slave = slave
        self.resize(33, 99)
        self.order = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [*program, *arguments],
            env={**stage.environment, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self.seen = self._raw = ""
        self._at = 0

    def sees(self, text: str, seconds: float = 40.0) -> None:
        """Wait until ``text`` comes, after what was waited for last."""
        deadline = time.monotonic() + seconds
        while (found := self.seen.find(text, self._at)) < 0:
            assert time.monotonic() < deadline and self._read(), f"no {text!r} in:\n{self.seen}"
        self._at = found + len(text)

    def types(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, rows: int, cols: int) -> None:
        """Of the window; the command hears of it as of any other."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def leaves(self) -> int:
        """The exit code; the terminal must be as it was before."""
        deadline = time.monotonic() + 40
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.seen}"
            self._read()
        while self._read(0):
            pass
        assert termios.tcgetattr(self.slave)[:4] == self.order[:4], "the terminal was left in disorder"
        return self.process.returncode

    def _read(self, seconds: float = 0.2) -> bool:
        """False at the end."""
        ended = self.process.poll() is not None  # first: what it says before its end is there then
        if not select.select([self.master], [], [], seconds)[0]:
            return not ended
        self._raw += os.read(self.master, 65536).decode(errors="replace")
        last = self._raw.rfind("\x1b")
        whole = self._raw if last < 0 or _MOVES.match(self._raw, last) else self._raw[:last]
        self._raw = self._raw[len(whole) :]
        self.seen += _MOVES.sub("", whole)
        return True

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
