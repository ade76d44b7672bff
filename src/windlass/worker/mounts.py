"""Local files of a caller as a tree that containers stack over their image.

A manifest (a blob) names files by path and digest. It becomes ``mounts/<digest>/`` once, whole or not at all, and is
never changed again. Paths come from users: only plain relative ones are accepted, and since the tree starts empty and
gets its links last, with nothing behind them, nothing is written outside. A link may lead anywhere: only containers
follow it.
"""
from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from windlass import exception
from windlass.wire.messages import images
from windlass.worker import spec


class Mounts:
    """Materialised manifests below ``root``. ``owner`` False keeps the worker's own user (no isolation)."""

    def __init__(self, root: Path, *, owner: bool) -> None:
        self._root = root
        self._owner = owner
        self._locks: dict[str, asyncio.Lock] = {}

    async def sweep(self) -> None:
        """Remove what a killed worker left half-made."""
        for draft in sorted((self._root / "mounts").glob(".*-*")):  # .new-…, and .gone-… of ``images.store``
            await asyncio.to_thread(shutil.rmtree, draft, True)

    async def tree(self, digest: str) -> Path:
        """The folder with the files of manifest ``digest``; made now if it is not here yet."""
        target = place(self._root, digest)
        if not target.exists():
            async with self._locks.setdefault(digest, asyncio.Lock()):
                if not target.exists():
                    await asyncio.to_thread(self._make, digest, target)
        return target

    def blob(self, digest: str) -> Path:
        """Where the bytes of ``digest`` are. Raises ``NotFoundError``."""
        return blob(self._root, digest)

    def _make(self, digest: str, target: Path) -> None:
        manifest = _manifest(blob(self._root, digest), digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            self._claim(draft, 0o755)
            for file in manifest["files"]:
                self._place(draft, file)
            for folder in manifest.get("folders", []):
                self._folder(draft, check(folder))
            for link in manifest.get("links", []):  # last: nothing is ever placed behind a link
                self._link(draft, link)
            draft.rename(target)
        except FileExistsError as exc:
            raise exception.InvalidError(f"a mount names {exc.filename} both as file and as folder") from None
        except UnicodeEncodeError as exc:
            raise exception.InvalidError(f"a mount names a file in no encoding: {exc}") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _place(self, draft: Path, file: images.MountFile) -> None:
        parts = check(file["path"])
        path = self._folder(draft, parts[:-1]) / parts[-1]
        lost = exception.DataLossError(
            f"the local file that was sent as {file['path']!r} is damaged or gone on this disk: run or deploy again"
        )
        try:
            found, kept = hashlib.sha256(), blob(self._root, file["digest"])
        except exception.NotFoundError:
            raise lost from None
        with kept.open("rb") as source, path.open("xb") as sink:
            while piece := source.read(1024 * 1024):
                found.update(piece)
                sink.write(piece)
        if "sha256:" + found.hexdigest() != file["digest"]:
            kept.unlink(missing_ok=True)  # so that it counts as missing, and is sent anew
            raise lost
        self._claim(path, file.get("mode", 0o644) & 0o777 | 0o400)

    def _link(self, draft: Path, link: images.MountLink) -> None:
        parts = check(link["path"])
        path = self._folder(draft, parts[:-1]) / parts[-1]
        if not link["target"] or "\0" in link["target"]:
            raise exception.InvalidError(f"a mount's link {link['path']!r} leads nowhere")
        path.symlink_to(link["target"])
        if self._owner:
            os.lchown(path, spec.OWNER, spec.OWNER)

    def _folder(self, draft: Path, parts: Sequence[str]) -> Path:
        folder = draft
        for part in parts:
            folder = folder / part
            if folder.is_symlink() or not folder.is_dir():
                folder.mkdir()  # fails where a file or a link stands
                self._claim(folder, 0o755)
        return folder

    def _claim(self, path: Path, mode: int) -> None:
        if self._owner:
            os.chown(path, spec.OWNER, spec.OWNER)
        path.chmod(mode)


def place(root: Path, digest: str) -> Path:
    """Where the files of manifest ``digest`` are, once somebody needed them."""
    return root / "mounts" / _hex(digest)


def check(path: str) -> tuple[str, ...]:
    """The parts of a mount's path. Raises ``InvalidError`` for what could leave the tree."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise exception.InvalidError(f"a mount may not hold the path {path!r}")
    return parts


def blob(root: Path, digest: str) -> Path:
    """Where the server keeps the bytes of ``digest``. Raises ``NotFoundError``."""
    name = _hex(digest)
    path = root / "blobs" / name[:2] / name
    if not path.exists():
        raise exception.NotFoundError(f"blob {digest} is not stored")
    return path


def _hex(digest: str) -> str:
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or not name.isalnum():
        raise exception.InvalidError(f"malformed digest {digest!r}")
    return name


def _manifest(path: Path, digest: str) -> images.MountManifest:
    data = path.read_bytes()
    if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        path.unlink(missing_ok=True)
        raise exception.DataLossError("the list of the local files that were sent is damaged here: run or deploy again")
    try:
        return msgspec.convert(json.loads(data), images.MountManifest)
    except (ValueError, RecursionError) as exc:
        raise exception.InvalidError(f"malformed mount manifest: {exc}") from None
