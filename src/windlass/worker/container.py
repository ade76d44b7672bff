"""Containers that are real (in progress): the signatures that worker.images may rely on."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Bind(NamedTuple):
    """A file or folder of the node, seen read-only at ``target`` inside."""

    source: Path
    target: str


class Steps:
    """Runs one command as a build step: a container on given layers whose changes stay in ``upper``."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        lowers: Sequence[Path],
        upper: Path,
        env: Mapping[str, str],
        cwd: str = "/",
        binds: Sequence[Bind] = (),
        log: Callable[[str], None],
        timeout: float | None = None,
    ) -> int:
        """The exit code (128 + n after signal n). Raises ``TimeoutError`` of ``windlass.exception`` at ``timeout``.

        ``lowers``: bottom first, as in ``ImageMeta.layers``. ``upper``: an existing empty folder (owned by the worker;
        it is handed to the container's root here) on the same file system as the layers. The node's network, with the
        host's resolv.conf and hosts. Neither ``binds`` nor their mount points appear in ``upper``. Cancelling kills
        the step and everything it started.
        """
        raise NotImplementedError
