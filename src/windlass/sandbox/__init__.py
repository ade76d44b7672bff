"""``Sandbox``: a container for a command that is not trusted, started and looked after from a program.

One module per topic: ``creating`` makes and finds sandboxes; ``life`` waits for them and ends them; ``commands`` runs
what they shall run; ``files``, ``copies`` and ``memory`` are about what they have, ``visits`` about who comes;
``probe`` is how one knows that they are ready; ``handle`` is what these share.
"""
from __future__ import annotations

import typing

from windlass.client import faces
from windlass.sandbox import commands, copies, creating, files, handle, life, memory, visits
from windlass.sandbox.memory import SandboxSnapshot as SandboxSnapshot
from windlass.sandbox.probe import Probe as Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator, Callable
    from typing import Any

    from windlass.client import figures


class Sandbox(
    creating.Creating, life.Life, commands.Commands, files.Files, copies.Copies, visits.Visits, memory.Memory
):
    """A container that runs a command of its own, under the control of a program: its files, its streams, further
    commands. It belongs to an app, and lives until its command ends, its time is over, or it is terminated, whatever
    becomes of the program that made it.

    Example:
        >>> app = windlass.App.lookup("agents", create_if_missing=True)
        >>> sandbox = windlass.Sandbox.create(app=app)
        >>> sandbox.exec("echo", "hello").stdout.read()
        'hello\\n'
        >>> sandbox.terminate()
    """


class ConnectToken(typing.NamedTuple):
    """Where a sandbox answers requests, and the token that they must show."""

    url: str
    token: str


class Sandboxes:
    """The sandboxes of one app, see ``App.sandboxes``."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id

    @faces.stream
    async def list(self, *, tags: dict[str, str] | None = None) -> AsyncGenerator[Callable[[], Sandbox], None]:
        """Those that run, newest first; with ``tags`` only those that have at least these."""
        from windlass.client import sandboxes

        query: dict[str, Any] = {"app_id": self._app_id, "tags": sandboxes.check_tags(tags or {})}
        async for info in sandboxes.listed(query):
            yield lambda info=info: handle.made(info)  # type: ignore[misc]

    @faces.method
    async def stats(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> figures.SandboxStats:
        """How they fared; in the last hour unless ``since`` or ``until`` is given.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.

        Example:
            >>> stats = app.sandboxes.stats()
            >>> print(stats.created, stats.running, stats.start.p50)
        """
        from windlass.client import figures

        return await figures.sandbox_stats(self._app_id, since, until)
