"""A command in a sandbox with our terminal, or our pipes, at its ends."""
from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

from windlass import exception, paths
from windlass.cli import control, terminal
from windlass.client import attach, bridge, session
from windlass.kit import ids, tasks


def run(sandbox_id: str, command: list[str], *, pty: bool, workdir: str | None = None) -> int:
    """Run it; its exit code. Ctrl-C without a terminal ends the command."""
    control.ensure(paths.home())
    size = terminal.window()
    body: dict[str, Any] = {
        "sandbox_id": sandbox_id, "exec_id": ids.new("ex"), "command": command, "pty": pty,
        "rows": size.lines, "cols": size.columns, **({"workdir": workdir} if workdir else {}),
    }  # fmt: skip
    sizes: asyncio.Queue[tuple[int, int]] = bridge.run(_queue())
    raw = terminal.raw() if pty and sys.stdin.isatty() else contextlib.nullcontext()
    with _resizes(sizes, pty=pty), raw:
        try:
            code: int = bridge.run(_attached(body, sizes))
        except KeyboardInterrupt:
            bridge.run(_ended(body))
            return 130
    return code if code >= 0 else 1


async def _queue() -> asyncio.Queue[tuple[int, int]]:
    return asyncio.Queue(maxsize=4)


async def _attached(body: dict[str, Any], sizes: asyncio.Queue[tuple[int, int]]) -> int:
    await session.current().request("sandbox.exec", body)
    async with tasks.Tasks(on_failure=lambda name, exc: None) as owned:
        owned.start(_hold(_reference(body)), "hold of a command")
        return await attach.attach(body["sandbox_id"], body["exec_id"], sizes)


async def _hold(reference: dict[str, str]) -> None:
    """Let the command end with us, however we end."""
    patience = session.Patience()
    while True:
        try:
            async with contextlib.aclosing(session.current().stream("sandbox.exec_hold", reference)) as held:
                async for _ in held:
                    continue
        except exception.ServiceError as exc:
            await patience.wait(exc)


async def _ended(body: dict[str, Any]) -> None:
    await session.current().request("sandbox.exec_kill", _reference(body))


def _reference(body: dict[str, Any]) -> dict[str, str]:
    return {"sandbox_id": body["sandbox_id"], "exec_id": body["exec_id"]}


@contextlib.contextmanager
def _resizes(sizes: asyncio.Queue[tuple[int, int]], *, pty: bool) -> Iterator[None]:
    """Tell the command when our window changes."""
    if not pty or not hasattr(signal, "SIGWINCH"):
        yield
        return

    async def note(rows: int, cols: int) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            sizes.put_nowait((rows, cols))

    def changed(*_: object) -> None:
        size = terminal.window()
        bridge.start(note(size.lines, size.columns))

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
