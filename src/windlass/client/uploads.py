"""Files that shall go into a volume or a network file system: collected, sent, and put in place by one edit."""
from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from windlass import exception
from windlass.client import sending, stepping, volumes
from windlass.kit import ids, slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import volumes as messages

_ATTEMPTS = 8
_PAUSE = 0.05  # seconds, at most, before the second attempt
_STEPS = 100_000  # files in one edit, as far as a message can hold them


class Upload:
    """What a block of ``Volume.batch_upload`` collects."""

    def __init__(self, force: bool, progress: sending.Progress | None = None) -> None:
        self._force = force
        self._progress = progress
        self._files: list[sending.File] = []
        self._folders: list[tuple[Path, str, bool]] = []
        self._edits: dict[int, str] = {}  # where sending begins again, what was done is not done again
        self._over = False

    def put_file(
        self,
        local_file: str | os.PathLike[str] | BinaryIO,
        remote_path: str | os.PathLike[str],
        mode: int | None = None,
    ) -> None:
        """Upload one file.

        Args:
            local_file: its path, or a file object open for reading bytes.
            remote_path: what it shall be called in the volume.
            mode: its permissions; by default, those of the local file.

        Raises:
            ValueError: ``remote_path`` names a folder: it ends with a slash.
            InvalidError: the block of ``batch_upload`` has ended.
        """
        self._check_open()
        remote = os.fspath(slashes.forward(remote_path))
        if remote.endswith("/"):
            raise ValueError(f"remote_path {remote!r} must be the name of a file: it ends with a slash")
        source: Path | BinaryIO
        if isinstance(local_file, (str, os.PathLike)):
            source = Path(local_file)
        elif isinstance(local_file, io.TextIOBase):
            raise exception.InvalidError("put_file() takes bytes, not text", hint='Open the file with mode "rb".')
        elif hasattr(local_file, "read"):
            source = local_file
        else:
            raise exception.InvalidError(f"put_file() takes a path or a file object, not {type(local_file).__name__}")
        if mode is not None and not (isinstance(mode, int) and 0 <= mode <= 0o7777):
            raise exception.InvalidError(f"mode is a number such as 0o644, not {mode!r}")
        name = volumes.inside(remote)
        if not name:
            raise ValueError("remote_path must be the name of a file, not the volume's root")
        self._files.append(sending.File(name, source, mode))

    def put_directory(
        self, local_path: str | os.PathLike[str], remote_path: str | os.PathLike[str], recursive: bool = True
    ) -> None:
        """Upload what is in a folder: files, also empty folders. Links are followed; pipes, sockets and devices stay.

        Args:
            local_path: the folder.
            remote_path: the folder of the volume that they shall lie in; made if it is not there.
            recursive: also what lies in folders below.

        Raises:
            InvalidError: the block of ``batch_upload`` has ended.
        """
        self._check_open()
        self._folders.append((Path(local_path), volumes.inside(remote_path), recursive))

    def close(self) -> None:
        """Take no more: nobody would send it."""
        self._over = True

    def _check_open(self) -> None:
        if self._over:
            raise exception.InvalidError(
                "this upload has ended: its files were sent when the block was left", hint="Call batch_upload() again."
            )

    async def send(self, volume_id: str) -> int:
        """Upload everything and put it in place; how many bytes there were."""
        with contextlib.ExitStack() as copies:
            files, empty = await stepping.aside(self._listed, copies)
            if volumes.method(volume_id, "") == "volume.":  # what can never fit is not sent at all
                question: messages.VolumeRoom = {"volume_id": volume_id, "size": await stepping.aside(_total, files)}
                await stepping.current().request("volume.room", question)
            folders: list[messages.EditStep] = [{"op": "folder", "path": path} for path in empty]
            sent = 0
            for start in range(0, max(len(files), 1), _STEPS):
                edit_id = self._edits.setdefault(start, ids.new("ed"))
                sent += await self._send(volume_id, files[start : start + _STEPS], folders, edit_id)
                folders = []
            return sent

    def _listed(self, copies: contextlib.ExitStack) -> tuple[list[sending.File], list[str]]:
        """All files, and the folders that have none."""
        files, empty = [sending.seekable(file, copies) for file in self._files], list[str]()
        for local, remote, recursive in self._folders:
            if not local.exists():
                raise FileNotFoundError(f"local folder {str(local)!r} does not exist")
            if not local.is_dir():
                raise NotADirectoryError(f"{str(local)!r} is no folder; use put_file")
            head = f"{remote}/" if remote else ""
            found, bare = _walk(local, recursive)
            files += [sending.File(f"{head}{name}", path, None) for name, path in found]
            empty += [place for name in bare if (place := f"{head}{name}".rstrip("/"))]
        if self._force:  # of two to one path the later counts, whichever would arrive first
            files = list({file.remote: file for file in files}.values())
        return files, empty

    async def _send(
        self, volume_id: str, files: list[sending.File], folders: list[messages.EditStep], edit_id: str
    ) -> int:
        for attempt in range(_ATTEMPTS):
            steps = await sending.Sending(files, self._force, self._progress).run()
            try:
                if steps or folders:
                    await volumes.edit(volume_id, [*steps, *folders], edit_id)
                return sum(step["size"] for step in steps)
            except (FileNotFoundError, exception.DataLossError):
                if attempt == _ATTEMPTS - 1:
                    raise
                # Uploads may be gone, for instance into the volume of somebody who sent the same bytes: they are made
                # again, by each of those who lost at another moment.
                await stepping.pause(random.uniform(0, _PAUSE * 2**attempt))
        raise AssertionError("unreachable")


def _total(files: list[sending.File]) -> int:
    """Bytes of those that are local files."""
    sizes = 0
    for file in files:
        with contextlib.suppress(OSError):  # who opens it later says why
            sizes += file.source.stat().st_size if isinstance(file.source, Path) else 0
    return sizes


def _walk(folder: Path, recursive: bool) -> tuple[list[tuple[str, Path]], list[str]]:
    """Path below the folder and local path of each file, and paths of folders that are empty; links are followed,
    special files left out."""
    found: list[tuple[str, Path]] = []
    bare: list[str] = []
    waiting: list[tuple[str, Path, frozenset[str]]] = [("", folder, frozenset())]
    while waiting:
        inside_path, here, above = waiting.pop()
        real = os.path.realpath(here)
        if real in above:
            continue  # a link back to one of its own parents
        with os.scandir(here) as listed:
            entries = sorted(listed, key=lambda one: one.name)
        if not entries:
            bare.append(inside_path)
        for entry in entries:
            name = f"{inside_path}/{entry.name}" if inside_path else entry.name
            if entry.is_dir():
                if recursive:
                    waiting.append((name, Path(entry.path), above | {real}))
            elif entry.is_file():
                found.append((name, Path(entry.path)))
    return found, bare


@contextlib.asynccontextmanager
async def upload(volume: Any, force: bool) -> AsyncIterator[Upload]:
    """Collect in the block, send on leaving it; nothing where it fails."""
    volume_id = await volume._ready()
    batch = Upload(force)
    try:
        yield batch
    finally:
        batch.close()
    await batch.send(volume_id)
