"""A container's output on its way to the server.

The monitor appends to a log file (``time source P|F text``, one piece a line; P has no newline of its own). The tail
follows that file, strips the runner's marks (``\\x1e<input id>\\x1e\\n``: what follows on this stream is of that
input; ``\\x1e>2\\x1e\\n`` and ``>1``: what follows is stderr, stdout), sends entries with the file offset behind
them, and goes on when the server has them. What has been sent is punched out of the file, so a log takes the disk
space of what is unsent.
"""
from __future__ import annotations

import asyncio
import calendar
import codecs
import contextlib
import ctypes
import os
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from windlass.kit import tasks
from windlass.wire.messages import workers
from windlass.worker import inotify

Send = Callable[[int, list[workers.LogPiece]], Awaitable[None]]

_CHUNK = 256 * 1024
_BACKLOG = 64 * 1024 * 1024  # unsent bytes above which the oldest are given up
_LINE_TIME = 0.02  # seconds that a line without end waits for the rest of it
_FLOOD = 4 * 1024 * 1024  # unsent bytes above which lines share a piece, so that the end of a flood is not waited for
_SHARED = 4096  # characters of such a piece
_LAST = 20  # lines kept for the reason of a death
_MARK = "\x1e"
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d$")
_MARK_LIMIT = 80
_KEEP_SIZE_PUNCH_HOLE = 0x1 | 0x2
_BLOCK = 4096
_KEPT = 65536  # sent bytes that stay, for the next worker to learn from whose output it is
_libc = ctypes.CDLL(None, use_errno=True)


_SOURCES = {">1": "stdout", ">2": "stderr"}


class _Stream:
    """State of one pipe: which stream its text belongs to, an unfinished mark, half a character."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.held = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")


class Parser:
    """Log file bytes to pieces. Pure; feed it whole lines."""

    def __init__(self) -> None:
        self._streams = {b"stdout": _Stream("stdout"), b"stderr": _Stream("stderr")}
        self._inputs: dict[str, str | None] = {"stdout": None, "stderr": None}
        self._second: tuple[bytes, float] = (b"", 0.0)
        self._pieces: list[workers.LogPiece] = []
        self._flood = False

    def feed(self, data: bytes, *, flood: bool = False) -> list[workers.LogPiece]:
        """The pieces in ``data``; partial lines that continue are joined, and in a flood whole ones, too."""
        self._pieces, self._flood = [], flood
        for line in data.split(b"\n"):
            parts = line.split(b" ", 3)
            stream = self._streams.get(parts[1]) if len(parts) == 4 else None
            if stream is not None and _STAMP.match(parts[0]):  # else a line that the disk lost half of
                text = stream.decoder.decode(parts[3]) + ("\n" if parts[2] == b"F" else "")
                self._take(stream, self._time(parts[0]), text)
        return self._pieces

    def _take(self, stream: _Stream, at: float, text: str) -> None:
        if stream.held:
            text, stream.held = stream.held + text, ""
        while (start := text.find(_MARK)) >= 0:
            end = text.find(_MARK, start + 1)
            if end < 0:
                if len(text) - start > _MARK_LIMIT or text.endswith("\n"):
                    break  # not one of ours
                self._add(stream.source, at, text[:start])
                stream.held = text[start:]
                return
            if end + 1 == len(text):  # its newline is still to come
                self._add(stream.source, at, text[:start])
                stream.held = text[start:]
                return
            if text[end + 1] != "\n" or "\n" in text[start:end]:
                break
            self._add(stream.source, at, text[:start])
            mark = text[start + 1 : end]
            if mark in _SOURCES:
                stream.source = _SOURCES[mark]
            else:
                self._inputs[stream.source] = mark or None
            text = text[end + 2 :]
        self._add(stream.source, at, text)

    def _add(self, source: str, at: float, text: str) -> None:
        if not text:
            return
        input_id = self._inputs[source]
        last = self._pieces[-1] if self._pieces else None
        joins = last is not None and last["source"] == source and last["input_id"] == input_id
        if joins and last is not None and self._continues(last["text"]):
            last["text"] += text
            return
        self._pieces.append({"time": at, "source": source, "text": text, "input_id": input_id})

    def _continues(self, text: str) -> bool:
        if text.endswith("\n"):
            return self._flood and len(text) < _SHARED
        return len(text) < 65536

    def _time(self, stamp: bytes) -> float:
        second, zone = stamp[:19], stamp[-6:]
        if self._second[0] != second:
            base = calendar.timegm(time.strptime(second.decode(), "%Y-%m-%dT%H:%M:%S"))
            if zone[:1] in (b"+", b"-") and zone != b"+00:00":
                ahead = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
                base += ahead if zone[:1] == b"-" else -ahead
            self._second = (second, float(base))
        return self._second[1] + float(b"0" + stamp[19:-6])


class Tail:
    """Follows one log. Leaving the block reads to the end first, unless the worker is ending."""

    def __init__(self, path: Path, *, offset: int, watcher: inotify.Inotify, send: Send) -> None:
        self._path = path
        self._offset = offset
        self._watcher = watcher
        self._send = send
        self._changed = asyncio.Event()
        self._over = False
        self._tasks = tasks.Tasks()
        self._parser = Parser()
        self._last: deque[str] = deque(maxlen=_LAST)

    @property
    def last(self) -> str:
        """The end of the output, for the reason of a death."""
        return "".join(self._last)[-4000:]

    async def __aenter__(self) -> Tail:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._recall()
        self._watch = self._watcher.watch(self._path, inotify.MODIFY, lambda _name: self._changed.set())
        self._task = self._tasks.start(self._follow(), f"log {self._path}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: object) -> None:
        try:
            if kind is None or not issubclass(kind, asyncio.CancelledError):
                await self.finish()
        finally:
            self._watcher.forget(self._watch)
            await self._tasks.close()
            os.close(self._file)

    async def finish(self) -> None:
        """Read what is there and return when the server has it. Call it when nobody writes any more."""
        self._over = True
        self._changed.set()
        await asyncio.shield(self._task)

    async def _follow(self) -> None:
        while True:
            self._changed.clear()
            over = self._over
            moved = await self._step()
            if not moved and over:
                return
            if not moved:
                await self._changed.wait()

    async def _step(self) -> bool:
        """Send one chunk; False when there is nothing new."""
        data = os.pread(self._file, _CHUNK, self._offset)
        if data.startswith(b"\0"):
            data = self._past_hole()
        if not self._over and _ends_partial(data):
            await asyncio.sleep(_LINE_TIME)  # most often the rest of the line is on its way
            data = os.pread(self._file, _CHUNK, self._offset)
        size = data.rfind(b"\n") + 1
        if not size:
            return False
        skipped = self._skip()
        if skipped:
            await self._send(self._offset, [_note(f"{skipped:,} bytes of output were dropped: too much, too fast\n")])
            return True
        pieces = self._parser.feed(data[:size], flood=os.fstat(self._file).st_size - self._offset > _FLOOD)
        self._last.extend(piece["text"] for piece in pieces[-_LAST:])
        before, self._offset = self._offset, self._offset + size
        if pieces:
            await self._send(self._offset, pieces)
        self._punch(before)
        return True

    def _recall(self) -> None:
        """Parse what an earlier worker has sent last: its marks tell which inputs are being run."""
        start = max(0, self._offset - _KEPT)
        data = os.pread(self._file, self._offset - start, start).lstrip(b"\0")
        self._parser.feed(data if start == 0 else data[data.find(b"\n") + 1 :])

    def _past_hole(self) -> bytes:
        """A server that forgot how far it had read points into what is punched out: go on where there are bytes."""
        self._offset = os.lseek(self._file, self._offset, os.SEEK_DATA)
        data = os.pread(self._file, _CHUNK, self._offset)
        half = data.find(b"\n") + 1  # holes end in the middle of lines
        self._offset += half
        return data[half:]

    def _skip(self) -> int:
        size = os.fstat(self._file).st_size
        if size - self._offset <= _BACKLOG:
            return 0
        start = size - _BACKLOG // 2
        start += os.pread(self._file, _CHUNK, start).find(b"\n") + 1
        before, self._offset = self._offset, start
        self._punch(before)
        return start - before

    def _punch(self, before: int) -> None:
        start, end = max(0, before - _KEPT) // _BLOCK * _BLOCK, (self._offset - _KEPT) // _BLOCK * _BLOCK
        if end > start:
            # Some file systems cannot; then the space is given back with the container.
            _libc.fallocate(self._file, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_long(start), ctypes.c_long(end - start))


def _ends_partial(data: bytes) -> bool:
    """Whether the last piece in a log has no newline of its own."""
    last = data[data.rfind(b"\n", 0, -1) + 1 :].split(b" ", 3)
    return len(last) == 4 and last[2] == b"P"


def _note(text: str) -> workers.LogPiece:
    return {"time": time.time(), "source": "system", "text": text, "input_id": None}


def tail_of(path: Path, limit: int = 4000) -> str:
    """The last text in a log file, for a container that never got a tail."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit * 2))
        return "".join(piece["text"] for piece in Parser().feed(file.read()))[-limit:]
    return ""
