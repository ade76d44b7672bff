"""The layers of this machine: whole or absent.

    layers/<image id>/
        meta.json    what a container needs to know; says which layers to stack
        files/       the tree of this layer; absent where the step changed nothing but metadata
    layers/.draft-…  a layer being made; left over only after a crash, removed when the next worker starts

A layer is made as a draft beside its place and renamed when it is complete, so whoever sees it sees all of it.
Files belong to subordinate ids of the node namespace: only a process inside it can remove them.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import workers

CONTAINER_ROOT = 1
"""How the node namespace numbers the root of containers and build steps."""


class Record(workers.ImageMeta, total=False):
    """``meta.json``: what travels, and what only later steps need."""

    shell: list[str]
    cmd: list[str]


class Draft:
    """A layer in the making. ``files`` appears with ``tree()``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"

    def tree(self) -> Path:
        """The empty folder of this layer's files, owned by the container's root."""
        self.files.mkdir()
        self.files.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(self.files, CONTAINER_ROOT, CONTAINER_ROOT)
        return self.files

    def aside(self, part: str = "") -> Path:
        """A folder for what the making needs and the layer does not hold."""
        folder = self.folder / "aside"
        for path in (folder, folder / part):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        return folder / part


class Layers:
    """The folder ``layers/`` below ``home``."""

    def __init__(self, home: Path) -> None:
        self.root = home / "layers"

    def known(self) -> list[str]:
        """Ids of all images that are here."""
        if not self.root.exists():
            return []
        return sorted(entry.parent.name for entry in self.root.glob("im-*/meta.json"))

    def read(self, image_id: str) -> Record:
        """The record of an image. Raises ``NotFoundError`` where it is not here."""
        if not ids.is_id(image_id, "im"):
            raise exception.InvalidError(f"malformed image id {image_id!r}")
        try:
            record: Record = json.loads((self.root / image_id / "meta.json").read_text())
        except FileNotFoundError:
            raise exception.NotFoundError(f"image {image_id} is not on this machine") from None
        return record

    def files(self, image_id: str) -> Path:
        return self.root / image_id / "files"

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """A place to make a layer. What was not published when the block ends is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.root))
        folder.chmod(0o755)
        try:
            yield Draft(folder)
        finally:
            await remove(folder)

    async def publish(self, image_id: str, draft: Draft, record: Record) -> None:
        """Give a finished draft its name. An image that is here already stays, unless it is made anew on purpose."""
        await remove(draft.folder / "aside")
        text = json.dumps(record, sort_keys=True)
        await asyncio.to_thread(_write, draft.folder / "meta.json", text)
        try:
            draft.folder.rename(self.root / image_id)
        except OSError:
            if not (self.root / image_id / "meta.json").exists():
                raise

    async def sweep(self) -> None:
        """Remove drafts that a killed worker left, and what is no whole layer any more."""
        damaged = [layer for layer in self.root.glob("im-*") if not (layer / "meta.json").exists()]
        for leftover in [*self.root.glob(".draft-*"), *damaged]:
            await remove(leftover)


async def remove(folder: Path) -> None:
    """Delete a tree with everything in it, also when this task is cancelled meanwhile."""
    if folder.exists():
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def size(folder: Path) -> int:
    """Bytes on disk below ``folder``."""
    return await asyncio.to_thread(_size, os.fspath(folder))


def _size(folder: str) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            total += entry.stat(follow_symlinks=False).st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                total += _size(entry.path)
    return total


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
