"""Layers of volumes: folders that never change once they have their name.

    volumes/<layer id>/files/      what the layer puts, and whiteouts of what it takes away, as overlayfs reads them
    volumes/<layer id>/index.json  digest and size of each of its files
    volumes/.new-<id>/             a layer in the making; whole or absent (rename)

A layer is of no volume: versions, volumes and forks name it. Only the server knows which layers are named; what it
does not name and nothing here uses is removed.
"""
from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.kit import ids, trees
from windlass.worker import overlay, spec
from windlass.worker.volumes import taking, verity

DRAFT, GONE = ".new-", ".gone-"
MERGED = "merged"  # in a draft: the stack that an edit works in
_NOTHING = (".empty-1", ".empty-2")
_INDEXES = 32
Files = Mapping[str, tuple[str, int]]
"""Digest and size by path."""


class Made(NamedTuple):
    """A whole layer. ``puts``: what it holds; ``clears``: what it takes away together with all that is below."""

    layer_id: str
    digest: str
    files: int
    size: int
    puts: list[str]
    clears: list[str]

    @property
    def changed(self) -> bool:
        return bool(self.puts or self.clears)


class Layers:
    """All layers below ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "volumes"
        self._held: collections.Counter[str] = collections.Counter()
        self._holding = threading.Lock()  # edits, looks and merges are threads
        self._indexes: dict[str, Files] = {}
        self.root.mkdir(mode=0o700, exist_ok=True)
        for name in _NOTHING:
            dressed(self.root / name)

    def sweep(self) -> None:
        """Remove what a killed worker left half-made."""
        for pattern in (f"{DRAFT}*", f"{GONE}*", ".view-*"):
            for left in self.root.glob(pattern):
                overlay.unmount(left / MERGED)  # or all in it would be deleted through the stack, and the folder stay
                overlay.unmount(left)
                trees.remove(left)
        for left in self.root.glob(f"{verity.PROBE}*"):
            left.unlink(missing_ok=True)

    def files(self, layer_id: str) -> Path:
        """The tree of a layer. Raises ``NotFoundError``."""
        path = self.root / layer_id / "files"
        if not ids.is_id(layer_id, "vl") or not path.is_dir():
            raise exception.NotFoundError(f"layer {layer_id} of a volume is not on this machine")
        return path

    def lowers(self, layer_ids: Sequence[str]) -> list[Path]:
        """What to stack, bottom first. An empty volume is an empty folder."""
        return [self.root / _NOTHING[0], *(self.files(layer) for layer in layer_ids)]

    def index(self, layer_id: str) -> Files:
        """Digests and sizes of a layer's own files. That of the last layers that were asked for is remembered."""
        found = self._indexes.get(layer_id)
        if found is None:
            found = self.read_index(layer_id)
            if len(self._indexes) >= _INDEXES:
                self._indexes.clear()
            self._indexes[layer_id] = found
        return found

    def topmost(self, layer_ids: Sequence[str], path: str) -> tuple[Path, str] | None:
        """Where the file lies that a stack shows at ``path``, and its digest. What hides it is not looked for.

        Raises ``DataLossError``.
        """
        for layer_id in reversed(layer_ids):
            if (found := self.index(layer_id).get(path)) is not None:
                return self.root / layer_id / "files" / path, found[0]
        return None

    def read_index(self, layer_id: str) -> Files:
        """As ``index``, from the disk. Raises ``DataLossError``."""
        try:
            text = (self.root / layer_id / "index.json").read_bytes()
            return {path: (digest, size) for path, (digest, size) in json.loads(text)["files"].items()}
        except (OSError, ValueError, KeyError) as exc:
            raise exception.DataLossError(f"the index of layer {layer_id} cannot be read: {exc}") from None

    def known(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self.root) if entry.name[0] != ".")

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder to make a layer in: ``files/`` is there. Removed unless it was published."""
        path = self.root / f"{DRAFT}{ids.new('x')}"
        path.mkdir(0o700)
        try:
            dressed(path / "files")
            yield path
        finally:
            trees.remove(path)

    def publish(self, draft: Path, files: Files, *, puts: list[str], clears: list[str], layer_id: str = "") -> Made:
        """Give a draft its name. From then on it is never changed."""
        text = json.dumps({"files": files}, separators=(",", ":"), sort_keys=True).encode()
        (draft / "index.json").write_bytes(text)
        name = layer_id or ids.new("vl")
        digest = "sha256:" + hashlib.sha256(text).hexdigest()
        draft.rename(self.root / name)
        return Made(name, digest, len(files), sum(size for _, size in files.values()), puts, clears)

    @contextlib.contextmanager
    def hold(self, layer_ids: Iterable[str]) -> Iterator[None]:
        """Keep layers while the block runs."""
        names = list(layer_ids)
        with self._holding:
            self._held.update(names)
        try:
            yield
        finally:
            with self._holding:
                for name in names:
                    self._held[name] -= 1
                    if not self._held[name]:
                        del self._held[name]

    def held(self) -> set[str]:
        """Layers that something under way reads."""
        with self._holding:
            return set(self._held)

    @contextlib.contextmanager
    def view(self, layer_ids: Sequence[str], more: Sequence[Path] = ()) -> Iterator[Path]:
        """The layers, and ``more`` above them, as one tree that nobody can change."""
        with self.hold(layer_ids):
            target = self.root / f".view-{ids.new('x')}"
            target.mkdir(0o700)
            try:
                overlay.mount(target, lowers=[self.root / _NOTHING[1], *self.lowers(layer_ids), *more])
                try:
                    yield target
                finally:
                    overlay.unmount(target)
            finally:
                target.rmdir()

    def remove(self, layer_id: str) -> None:
        """Take a layer away, at one moment for everybody; its space is freed after."""
        gone = self.root / f"{GONE}{layer_id}"
        try:
            (self.root / layer_id).rename(gone)
        except FileNotFoundError:
            return
        trees.remove(gone)


def dressed(path: Path) -> None:
    """Make a folder that is a container root's."""
    path.mkdir(0o755, exist_ok=True)
    path.chmod(0o755)
    os.chown(path, spec.OWNER, spec.OWNER)


def dress_like(path: Path, like: Path) -> None:
    """Give a folder the owner, the mode and the user's attributes of another one."""
    state = like.stat()
    os.chown(path, state.st_uid, state.st_gid)
    path.chmod(stat.S_IMODE(state.st_mode))
    taking.copy_attributes(like, path)
