"""This program's terminal at the ends of a command in a sandbox: keys go there, what it draws comes here.

    stdin ── thread ──► sandbox.exec_write (by offset)        sandbox.exec_read (by offset) ──► stdout, stderr
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import Any

from windlass import exception
from windlass.client import sandboxes, session, streams
from windlass.kit import tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK = 0.25  # seconds between looks at the window's size: signals are the main thread's, and that is the user's
_CHUNK = 32 * 1024
_WAIT = 50.0


async def attach(sandbox_id: str, exec_id: str, resized: asyncio.Queue[tuple[int, int]] | None = None) -> int:
    """Until the command ends; its exit code. ``exec_id``: "" for the sandbox's own command. ``resized``: lines and
    columns of the window, when they change."""
    loop, gone = asyncio.get_running_loop(), threading.Event()
    target = streams.Input(sandbox_id, exec_id)
    keys: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
    async with tasks.Tasks(on_failure=lambda name, exc: None) as owned:
        owned.start(_send(target, keys), "input of a command")
        if resized is not None:
            owned.start(_resize(sandbox_id, exec_id, resized), "size of a window")
        threading.Thread(target=_read, args=(loop, keys, gone), daemon=True).start()
        shown = [
            owned.start(_show(_output(sandbox_id, exec_id, source), number), source)
            for source, number in (("stdout", 1), ("stderr", 2))
        ]
        try:
            await asyncio.gather(*shown)
            return await _ended(sandbox_id, exec_id)
        finally:
            gone.set()


async def with_own_terminal(sandbox_id: str, exec_id: str) -> int:
    """The same, while our terminal, if we have one, hands every key on, and its size is the command's."""
    if not os.isatty(0):
        return await attach(sandbox_id, exec_id)
    sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue(maxsize=4)
    async with tasks.Tasks(on_failure=lambda name, exc: None) as owned:
        owned.start(_follow_window(sizes), "size of the window")
        with _raw():
            return await attach(sandbox_id, exec_id, sizes)


async def _follow_window(sizes: asyncio.Queue[tuple[int, int]]) -> None:
    known = (0, 0)
    while True:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(0)
            if size.lines and size.columns and known != (size.lines, size.columns):
                known = (size.lines, size.columns)
                await sizes.put(known)
        await asyncio.sleep(_LOOK)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    try:
        import termios
        import tty
    except ImportError:  # Windows: its console hands whole lines on
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # by default it would throw away what was typed already
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _read(loop: asyncio.AbstractEventLoop, keys: asyncio.Queue[bytes], gone: threading.Event) -> None:
    """In a thread: a file or a pipe cannot always be polled."""
    while not gone.is_set():
        try:
            data = os.read(0, _CHUNK)
        except OSError:
            data = b""
        try:
            asyncio.run_coroutine_threadsafe(keys.put(data), loop).result()
        except (RuntimeError, asyncio.CancelledError):
            return
        if not data:
            return


async def _send(target: streams.Input, keys: asyncio.Queue[bytes]) -> None:
    while data := await keys.get():
        await target.send(data, eof=False)
    await target.send(b"", eof=True)


async def _resize(sandbox_id: str, exec_id: str, resized: asyncio.Queue[tuple[int, int]]) -> None:
    while True:
        await resize(sandbox_id, exec_id, *await resized.get())


async def resize(sandbox_id: str, exec_id: str, rows: Any, cols: Any) -> None:
    """Give the terminal of a command, or with "" of the sandbox's own, another size. Raises ``InvalidError``."""
    for name, given in (("rows", rows), ("cols", cols)):
        if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < 65536:
            raise exception.InvalidError(f"{name} must be a number from 1 to 65535, not {given!r}")
    body: dict[str, Any] = {"sandbox_id": sandbox_id, "rows": rows, "cols": cols}
    if exec_id:
        body["exec_id"] = exec_id
    await session.current().request("sandbox.exec_write" if exec_id else "sandbox.stdin", body)


def _output(sandbox_id: str, exec_id: str, source: str) -> streams.ExecOutput | streams.EntryOutput:
    return streams.ExecOutput(sandbox_id, exec_id, source) if exec_id else streams.EntryOutput(sandbox_id, source)


async def _show(output: Any, number: int) -> None:
    async for piece in output.pieces(0):
        view = memoryview(piece)
        while view:
            view = view[os.write(number, view) :]
    sys.stdout.flush()


async def _ended(sandbox_id: str, exec_id: str) -> int:
    if not exec_id:
        return int((await sandboxes.ended(sandbox_id))["code"] or 0)
    body = {"sandbox_id": sandbox_id, "exec_id": exec_id, "seconds": _WAIT}
    while (code := (await session.current().request("sandbox.exec_wait", body)).body["code"]) is None:
        continue
    return int(code)
