"""Memory of sandboxes, as gVisor writes it: it lies beside the files of the layer that was taken at the same moment,
and goes with it."""
from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from windlass import exception
from windlass.worker import folder as folders
from windlass.worker import spec
from windlass.worker.images import cache
from windlass.worker.sandboxes import gvisor, sentry, starting

_FOLDER = "memory"
_TIME = 300.0


def folder(root: Path, image_id: str) -> Path:
    """Where the memory of a snapshot is. Raises ``NotFoundError`` where it is not on this machine."""
    found = cache.Layers(root).root / image_id / _FOLDER
    if not found.is_dir():
        raise exception.NotFoundError(f"the memory of the snapshot {image_id} is not on this machine")
    return found


def keep(memory: Path, draft: Path) -> None:
    """Put it into a layer in the making."""
    memory.rename(draft / _FOLDER)
    (draft / _FOLDER).chmod(0o755)


@contextlib.asynccontextmanager
async def taken(room: gvisor.Room, starter: starting.Starting) -> AsyncIterator[Path]:
    """Write a sandbox's memory into a folder; no command of it runs any more, and its files stay until the block is
    left. Then it ends. Raises ``ExecutionError`` where it cannot be written; the sandbox goes on then."""
    record, made = room.home.record, room.bundle / sentry.MEMORY
    made.mkdir(mode=0o700, exist_ok=True)
    os.chown(made, spec.OWNER, spec.OWNER)
    watcher = folders.open_pid(record["process"], record["process_start"])
    if watcher is None:
        raise exception.ConflictError("the sandbox has finished")
    try:
        signal.pidfd_send_signal(watcher, signal.SIGSTOP)  # it would tell of the end, and the files would go
        try:
            await gvisor.ordered(room, starter, *gvisor.CHECKPOINT, seconds=_TIME)
        except BaseException:
            signal.pidfd_send_signal(watcher, signal.SIGCONT)
            raise
        try:
            yield made
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(watcher, signal.SIGKILL)
    finally:
        os.close(watcher)
