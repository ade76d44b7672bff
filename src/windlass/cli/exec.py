"""A command in a container, with our terminal or our pipes at its ends.

    stdin ── thread ──► queue ── task ──► container.exec_input …        (acknowledged one by one: back-pressure)
    container.exec … ── items ──► stdout, stderr, exit code
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from windlass.cli import terminal
from windlass.client import bridge, session
from windlass.kit import ids, tasks

_CHUNK = 32 * 1024


def run(container_id: str, command: list[str], *, pty: bool) -> int:
    """Run it and give back its exit code. Ctrl-C without a pty ends the command."""
    with _raw_terminal(pty):
        return bridge.run(_Exec(container_id, command, pty=pty).run())


class _Exec:
    def __init__(self, container_id: str, command: list[str], *, pty: bool) -> None:
        self._exec_id = ids.new("ex")
        size = terminal.window()
        self._begin: dict[str, Any] = {
            "exec_id": self._exec_id, "container_id": container_id, "command": command, "pty": pty,
            "rows": size.lines, "cols": size.columns,
        }  # fmt: skip
        self._pty = pty
        self._input: asyncio.Queue[dict[str, Any] | bytes | None] = asyncio.Queue(maxsize=4)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        code = 1
        async with tasks.Tasks(on_failure=lambda name, exc: None) as owned:
            owned.start(self._send(), "exec input")
            threading.Thread(target=self._read, args=(loop,), daemon=True).start()
            with _resizes(loop, self._input) if self._pty else contextlib.nullcontext():
                async for reply in session.current().stream("container.exec", self._begin):
                    for data in reply.attachments:
                        terminal.write(2 if reply.body.get("source") == "stderr" else 1, data)
                    code = reply.body.get("exit_code", code)
        return code

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Our stdin to the queue, until its end. Runs in a thread: a file or a pipe cannot always be polled."""
        while True:
            try:
                data = os.read(0, _CHUNK)
            except OSError:
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(self._input.put(data or None), loop).result()
            except (RuntimeError, asyncio.CancelledError):
                return
            if not data:
                return

    async def _send(self) -> None:
        while True:
            piece = await self._input.get()
            body: dict[str, Any] = {"exec_id": self._exec_id}
            attachments: list[bytes] = []
            if piece is None:
                body["eof"] = True
            elif isinstance(piece, bytes):
                attachments.append(piece)
            else:
                body.update(piece)
            await session.current().request("container.exec_input", body, attachments)


@contextlib.contextmanager
def _resizes(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Any]) -> Iterator[None]:
    """Tell the command when our window changes. Signal handlers are set from the main thread by ``_raw_terminal``."""

    def tell() -> None:
        size = terminal.window()
        with contextlib.suppress(asyncio.QueueFull):
            queue.put_nowait({"rows": size.lines, "cols": size.columns})

    _on_resize.append(lambda: loop.call_soon_threadsafe(tell))
    try:
        yield
    finally:
        _on_resize.clear()


_on_resize: list[Any] = []


@contextlib.contextmanager
def _raw_terminal(pty: bool) -> Iterator[None]:
    """Our terminal hands every key on, and is put back in order afterwards."""
    if not pty or not sys.stdin.isatty() or not hasattr(signal, "SIGWINCH"):
        yield
        return
    previous = signal.signal(signal.SIGWINCH, lambda *_: [call() for call in list(_on_resize)] and None)
    try:
        with terminal.raw():
            yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
