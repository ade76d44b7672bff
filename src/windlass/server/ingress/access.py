"""The access log: one line for each request, written together twice a second, by a thread: a disk that is busy makes
whoever writes wait, and everybody's requests would wait with it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

_EVERY = 0.5
_MOST = 32 * 1024 * 1024  # bytes, then a new file begins; one old one is kept
_log = logging.getLogger(__name__)


class Log:
    """Times are of this machine, with the offset, as access logs have them."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lines: list[str] = []
        self._planned = False
        self._writing = threading.Lock()
        self._second = 0
        self._stamp = ""

    def add(self, client: str | None, label: str, method: str, path: str, status: int, seconds: float) -> None:
        now = int(time.time())
        if now != self._second:
            self._second, self._stamp = now, time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(now))
        self._lines.append(f'{client} {label} [{self._stamp}] "{method} {path}" {status} {seconds * 1000:.1f}ms\n')
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_later(_EVERY, self._due)

    def _due(self) -> None:
        """The next time is planned once this one is over: lines keep their order, and one thread is all it takes."""
        loop = asyncio.get_running_loop()
        lines, self._lines = self._lines, []
        written = loop.run_in_executor(None, self._write, lines)
        written.add_done_callback(lambda _: self._written())

    def _written(self) -> None:
        self._planned = bool(self._lines)
        if self._planned:
            asyncio.get_running_loop().call_later(_EVERY, self._due)

    def flush(self) -> None:
        """At once, for the end."""
        lines, self._lines = self._lines, []
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        try:
            with self._writing:
                with self._path.open("a", encoding="utf-8", errors="replace") as file:
                    file.write("".join(lines))
                if self._path.stat().st_size > _MOST:
                    self._path.replace(self._path.with_suffix(".log.1"))
        except OSError as exc:
            _log.error("%d lines of the access log could not be written: %s", len(lines), exc)
