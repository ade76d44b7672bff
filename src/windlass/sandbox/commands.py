"""Commands: the streams of its own one, and further ones."""
from __future__ import annotations

from windlass import container_process, io_streams, stream_type
from windlass.client import faces
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from windlass.client import logs
    from windlass.secret import Secret
    from windlass.wire.messages import apps


PIPE = stream_type.StreamType.PIPE
_MOST_INPUT = 2 * 1024 * 1024


class Commands(handle.Handle):
    """The members of ``Sandbox`` that run commands, and their streams."""

    _stdin: io_streams.StreamWriter | None = None

    @property
    def stdout(self) -> io_streams.StreamReader[str]:
        """What its command prints, line by line; ``read`` gives everything from the beginning."""
        return self._reader("stdout", 1)

    @property
    def stderr(self) -> io_streams.StreamReader[str]:
        """What its command complains."""
        return self._reader("stderr", 2)

    @property
    def stdin(self) -> io_streams.StreamWriter:
        """The input of its command."""
        from windlass.client import streams

        if self._stdin is None:
            self._stdin = io_streams.StreamWriter(streams.Input(self._usable()), _MOST_INPUT)
        return self._stdin

    def _reader(self, source: str, number: int) -> io_streams.StreamReader[str]:
        from windlass.client import streams

        found = self._readers.get(source)
        if found is None:
            output = streams.EntryOutput(self.object_id, source)
            found = self._readers[source] = io_streams.StreamReader(
                output, number, text=True, by_line=True, whole=True
            )
        return found

    @faces.method
    async def attach(self) -> None:
        """Connect this program's terminal with the command of a sandbox that was made with ``pty=True``, until it ends.
        Each key goes there, Ctrl-C too, and its terminal has the size of ours. Nobody may have used ``stdin`` before.

        Example:
            >>> windlass.Sandbox.create("bash", app=app, pty=True).attach()
        """
        from windlass.client import attach

        self._code = await attach.with_own_terminal(self._usable(), "")

    @faces.method
    async def resize(self, rows: int, cols: int) -> None:
        """Give the terminal of its command another size, where it was made with ``pty=True``. It begins with 24 lines
        of 80 characters.

        Args:
            rows: lines of the window.
            cols: characters of a line.

        Raises:
            InvalidError: a size is none.
            ConflictError: the sandbox has ended.
        """
        from windlass.client import attach

        await attach.resize(self._usable(), "", rows, cols)

    @property
    def logs(self) -> logs.Logs:
        """What its command printed, also after its end."""
        from windlass.client import logs

        return logs.Logs(self._own_logs)

    async def _own_logs(self) -> apps.LogQuery:
        from windlass.client import sandboxes

        info = await sandboxes.about(self.object_id, "running", 50.0)
        return {"container_id": info["container_id"]} if info["container_id"] else {"app_id": info["app_id"], "tail": 0}

    @faces.method
    async def exec(
        self,
        *args: str,
        stdout: stream_type.StreamType = PIPE,
        stderr: stream_type.StreamType = PIPE,
        timeout: int | None = None,
        workdir: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        text: bool = True,
        bufsize: int = -1,
        pty: bool = False,
        pty_info: object = None,
    ) -> container_process.ContainerProcess[Any]:
        """Run another command in it. Waits until the sandbox runs.

        Args:
            args: the command.
            stdout: where its output goes.
            stderr: where its errors go.
            timeout: seconds that it may run; then it is killed and its exit code is -1.
            workdir: the folder that it begins in.
            env: more variables.
            secrets: more variables.
            text: False gives bytes.
            bufsize: 1 gives text line by line, -1 as it comes.
            pty: with a terminal.
            pty_info: removed; use ``pty``.

        Raises:
            InvalidError: an argument is wrong, or there is no such command in the sandbox.
            ConflictError: the sandbox has ended.

        Example:
            >>> process = sandbox.exec("ls", "/")
            >>> print(process.stdout.read())
        """
        from windlass import sandbox_options as checks
        from windlass.kit import ids

        asked = checks.execution(args, {
            "stdout": stdout, "stderr": stderr, "timeout": timeout, "workdir": workdir, "bufsize": bufsize,
            "text": text, "pty": pty, "pty_info": pty_info,
        })  # fmt: skip
        body: dict[str, Any] = {"sandbox_id": self._usable(), "exec_id": ids.new("ex"), **asked}
        if env or secrets:
            body["secrets"] = await checks.variables(env, secrets, self._info["app_id"])
        process: container_process.ContainerProcess[Any] = container_process.ContainerProcess(
            body["sandbox_id"], body["exec_id"], stdout=stdout, stderr=stderr, text=text, by_line=bufsize == 1
        )
        await process._begin(body)
        return process
