"""The access log: one line for each request, written together twice a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

_EVERY = 0.5
_MOST = 32 * 1024 * 1024  # bytes, then a new file begins; one old one is kept


class Log:
    """Times are of this machine, with the offset, as access logs have them."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._stamp = ""

    def add(self, client: str | None, label: str, method: str, path: str, status: int, seconds: float) -> None:
        now = int(time.time())
        if now != self._second:
            self._second, self._stamp = now, time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(now))
        self._lines.append(f'{client} {label} [{self._stamp}] "{method} {path}" {status} {seconds * 1000:.1f}ms\n')
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self.flush)

    def flush(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write("".join(lines))
            size = file.tell()
        if size > _MOST:
            self._path.replace(self._path.with_suffix(".log.1"))
