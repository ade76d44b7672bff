"""The layers of this machine: whole or absent.

    layers/<image id>/
        meta.json    what a container needs to know; says which layers to stack
        files/       the tree of this layer; absent where the step changed nothing but metadata
    layers/sha-<digest>/
        meta.json    of a layer that came from a registry: its size
        files/       its tree. Named by what it holds, so images that have the same layer share it
    layers/.draft-…  a layer being made; left over only after a crash, removed when the next worker starts
    layers/.gone-…   a layer being deleted; the same

A layer is made as a draft beside its place and renamed when it is complete, so whoever sees it sees all of it. It is
renamed again before it is deleted. Its record says by a seal what its tree was when it was published (``seal``).
Files belong to subordinate ids of the node namespace: only a process inside it can remove them.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, TypedDict, TypeVar

from windlass import exception
from windlass.kit import ids, trees
from windlass.wire.messages import workers
from windlass.worker.images import seal

CONTAINER_ROOT = 1
"""How the node namespace numbers the root of containers and build steps."""

DRAFT, GONE = ".draft-", ".gone-"
SHARED = "sha-"
"""How names of layers begin that several images share and that are no images themselves."""


class Record(workers.ImageMeta, total=False):
    """``meta.json``: what travels, and what only this machine needs.

    ``program``: the command that starts Python, "" where there is none.
    """

    shell: list[str]
    cmd: list[str]
    program: str
    user: str
    seal: str


class Shared(TypedDict, total=False):
    """``meta.json`` of a layer from a registry. ``opaque``: it hides all layers below."""

    size: int
    opaque: bool
    seal: str


Made = TypeVar("Made", Record, Shared)


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

    at_work: ClassVar[set[Path]] = set()
    """Drafts that somebody in this process works in just now, and what is being deleted."""

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
            raise exception.NotFoundError(
                f"image {image_id} is not on this machine", hint="It was removed. Run again: it is built anew."
            ) from None
        except ValueError:
            raise exception.DataLossError(
                f"the record of image {image_id} is damaged", hint="`windlass image fsck --repair` removes it."
            ) from None
        return record

    def files(self, layer: str) -> Path:
        return self.root / layer / "files"

    def shared(self, layer: str) -> Shared | None:
        """The record of a layer from a registry; None where it is not here."""
        try:
            record: Shared = json.loads((self.root / layer / "meta.json").read_text())
        except FileNotFoundError:
            return None
        return record

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """A place to make a layer. What was not published when the block ends is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self.root))
        self.at_work.add(folder)
        try:
            folder.chmod(0o755)
            yield Draft(folder)
        finally:
            await remove(folder)
            self.at_work.discard(folder)

    async def publish(self, image_id: str, draft: Draft, record: Made) -> Made:
        """Seal a finished draft and give it its name; the record as it was written.

        All or nothing, also on a full disk. An image that is here already stays, unless it is made anew on purpose.
        """
        await remove(draft.folder / "aside")
        sealed = await seal.take(draft.files)
        record["seal"] = sealed.text
        if draft.files.exists():
            record["size"] = sealed.size
        text = json.dumps(record, sort_keys=True)
        await asyncio.to_thread(_write, draft.folder / "meta.json", text)
        try:
            draft.folder.rename(self.root / image_id)
        except OSError:
            if not (self.root / image_id / "meta.json").exists():
                raise
        return record

    async def sweep(self) -> None:
        """Remove drafts that a killed worker left, and what is no whole layer any more."""
        damaged = [
            folder for kind in ("im-*", f"{SHARED}*") for folder in self.root.glob(kind)
            if not (folder / "meta.json").exists()
        ]  # fmt: skip
        for leftover in [*self.root.glob(f"{DRAFT}*"), *self.root.glob(f"{GONE}*"), *damaged]:
            await remove(leftover)


async def remove(folder: Path) -> None:
    """Delete a tree with everything in it, also when this task is cancelled meanwhile."""
    if folder.exists():
        await asyncio.shield(asyncio.to_thread(trees.remove, folder))


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
