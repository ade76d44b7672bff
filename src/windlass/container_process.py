"""``ContainerProcess``: a command that runs in a sandbox."""
from __future__ import annotations

from windlass import exception, io_streams, stream_type
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Generic, TypeVar

    T = TypeVar("T", str, bytes)

    class _Process(Generic[T]): ...

else:

    class _Process:
        def __class_getitem__(cls, _):
            return cls


_WAIT = 50.0
_MOST_INPUT = 16 * 1024 * 1024


class ContainerProcess(_Process["T"]):
    """A command in a sandbox, as ``Sandbox.exec`` gives it.

    Example:
        >>> process = sandbox.exec("python", "-c", "print(6 * 7)")
        >>> process.wait()
        0
        >>> process.stdout.read()
        '42\\n'
    """

    def __init__(
        self, sandbox_id: str, exec_id: str, *, stdout: stream_type.StreamType, stderr: stream_type.StreamType,
        text: bool, by_line: bool,
    ) -> None:  # fmt: skip
        from windlass.client import streams

        self._sandbox_id = sandbox_id
        self._exec_id = exec_id
        self._code: int | None = None
        self._printing: list[asyncio.Task[None]] = []
        self._early: asyncio.Task[int | None] | None = None
        self._stdin = io_streams.StreamWriter(streams.Input(sandbox_id, exec_id), _MOST_INPUT)
        readers: list[io_streams.StreamReader[Any]] = [
            io_streams.StreamReader(
                streams.ExecOutput(sandbox_id, exec_id, source), number, text=text, by_line=by_line,
                closed=_CLOSED[kind],
            )
            for source, number, kind in (("stdout", 1, stdout), ("stderr", 2, stderr))
        ]  # fmt: skip
        self._stdout, self._stderr = readers
        self._shown = [
            (source, kind) for source, kind in (("stdout", stdout), ("stderr", stderr))
            if kind == stream_type.StreamType.STDOUT
        ]  # fmt: skip

    def __repr__(self) -> str:
        return f"<ContainerProcess {self._exec_id} in {self._sandbox_id}>"

    @property
    def stdout(self) -> io_streams.StreamReader[T]:
        """What it prints. With ``pty=True`` its errors, too."""
        return self._stdout

    @property
    def stderr(self) -> io_streams.StreamReader[T]:
        """What it complains."""
        return self._stderr

    @property
    def stdin(self) -> io_streams.StreamWriter:
        """Its input."""
        return self._stdin

    @property
    def returncode(self) -> int:
        """Its exit code.

        Raises:
            InvalidError: ``wait`` or ``poll`` has not seen its end.
        """
        if self._code is None:
            raise exception.InvalidError("the command has not ended yet", hint="Call wait() or poll() first.")
        return self._code

    @faces.method
    async def poll(self) -> int | None:
        """The exit code, or None while it runs; -1 where its ``timeout`` was over."""
        return await self._asked(0.0)

    @faces.method
    async def wait(self) -> int:
        """Wait for its end. Returns the exit code: 128+n for a signal n, -1 where its ``timeout`` was over."""
        import asyncio

        code = await self._first()
        while code is None:
            code = await self._asked(_WAIT)
        if self._printing:
            await asyncio.gather(*self._printing)
        return code

    @faces.method
    async def attach(self) -> None:
        """Connect this program's terminal with a command that was begun with ``pty=True``, until it ends. Each key goes
        there, Ctrl-C too, and the command's terminal has the size of ours."""
        from windlass.client import attach

        self._code = await attach.with_own_terminal(self._sandbox_id, self._exec_id)

    @faces.method
    async def resize(self, rows: int, cols: int) -> None:
        """Give the terminal of a command that was begun with ``pty=True`` another size.

        Args:
            rows: lines of the window.
            cols: characters of a line.

        Raises:
            InvalidError: a size is none.
            NotFoundError: the command has ended long ago.
        """
        from windlass.client import attach

        await attach.resize(self._sandbox_id, self._exec_id, rows, cols)

    async def _asked(self, seconds: float) -> int | None:
        if self._code is None:
            self._code = await self._end(seconds)
        return self._code

    async def _end(self, seconds: float) -> int | None:
        from windlass.client import session

        body = {"sandbox_id": self._sandbox_id, "exec_id": self._exec_id, "seconds": seconds}
        code: int | None = (await session.current().request("sandbox.exec_wait", body)).body["code"]
        return code

    async def _first(self) -> int | None:
        """What was asked along with the beginning; it is the answer for all commands that end soon."""
        import asyncio

        early, self._early = self._early, None
        if early is None:
            return self._code
        await asyncio.wait([early])
        if self._code is None and not early.cancelled() and early.exception() is None:
            self._code = early.result()
        return self._code  # without it, asking again says why, or succeeds

    async def _begin(self, body: Any) -> None:
        """Have it begun, and ask for its end at once: that saves a way there and back. On the library's loop."""
        from windlass.client import session

        current = session.current()
        begun = current.tasks.start(current.request("sandbox.exec", body), "a command's beginning")
        self._early = current.tasks.start(self._end(_WAIT), "a command's end")  # it leaves after the other one
        try:
            await begun
        except BaseException:
            begun.cancel()
            self._early.cancel()
            raise
        self._show()

    def _show(self) -> None:
        """Print what is to be printed. On the library's loop."""
        from windlass.client import session, streams

        for source, _ in self._shown:
            output = streams.ExecOutput(self._sandbox_id, self._exec_id, source)
            self._printing.append(session.current().tasks.start(_print(output), f"printing {source}"))


_CLOSED: dict[Any, str] = {
    stream_type.StreamType.PIPE: "", stream_type.StreamType.STDOUT: "stdout", stream_type.StreamType.DEVNULL: "null",
}  # fmt: skip


async def _print(output: Any) -> None:
    import codecs
    import sys

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in output.pieces(0):
        sys.stdout.write(decoder.decode(piece))
        sys.stdout.flush()
