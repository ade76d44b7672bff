"""Where backups lie: as an archive, or in a folder beside older ones. Written to a draft, then renamed."""
from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from windlass import exception
from windlass.cli.backups import entries

HEAD, FILES, SEAL, TREE = "head.json", "files.jsonl", "seal.json", "tree/"
_STEP = 1024 * 1024
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


class Sink(Protocol):
    """A backup in the making."""

    def add(self, entry: entries.Entry, place: Path) -> str:
        """Keep the bytes of a file. Returned: their digest."""

    def note(self, name: str, data: bytes) -> None:
        """Write one of the backup's own files."""


def is_archive(path: Path) -> bool:
    return path.name.endswith(_ARCHIVES)


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Sink]:
    """A new backup at ``target``: an archive of that name, or a folder of backups. It is there after the block."""
    with _folder_of_backups(target) if not is_archive(target) else _archive(target) as sink:
        yield sink


# -- archives ----------------------------------------------------------------------------------------------


class _Archive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, entry: entries.Entry, place: Path) -> str:
        with place.open("rb") as file:
            info = _member(TREE + entry.path, os.fstat(file.fileno()).st_size)
            hashed = _Hashed(file, info.size)
            self._tar.addfile(info, hashed)  # type: ignore[arg-type]
        return hashed.hash.hexdigest()

    def note(self, name: str, data: bytes) -> None:
        self._tar.addfile(_member(name, len(data)), io.BytesIO(data))


class _Hashed:
    """Reads just ``size`` bytes; a file that became shorter meanwhile ends in zeros."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        data = self._file.read(size).ljust(size, b"\0")
        self._left -= size
        self.hash.update(data)
        return data


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


@contextlib.contextmanager
def _archive(target: Path) -> Iterator[_Archive]:
    if target.is_dir():
        raise exception.InvalidError(f"{target} is a folder")
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds the key of all secrets
        with os.fdopen(descriptor, "wb") as file:
            mode: Any = "w|" if target.name.endswith(".tar") else "w|gz"
            with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as tar:
                yield _Archive(tar)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    finally:
        draft.unlink(missing_ok=True)


# -- folders -----------------------------------------------------------------------------------------------


class _Folder:
    def __init__(self, root: Path, before: Path | None) -> None:
        self._root = root
        self._before = before
        self._known = {one.path: one for one in _listed(before)} if before is not None else {}

    def add(self, entry: entries.Entry, place: Path) -> str:
        target = self._root / TREE / entry.path
        entries.make_folders(target.parent)
        known = self._known.get(entry.path)
        if known is not None and self._before is not None and known.same_file(entry):
            with contextlib.suppress(OSError):  # another disk, or too many links
                target.hardlink_to(self._before / TREE / entry.path)
                return known.digest
        return _copy(place, target)

    def note(self, name: str, data: bytes) -> None:
        with _private(self._root / name) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _listed(backup: Path) -> list[entries.Entry]:
    with (backup / FILES).open(encoding="utf-8") as file:
        return [entries.parse(line) for line in file]


def _copy(place: Path, target: Path) -> str:
    state = hashlib.sha256()
    with place.open("rb") as source, _private(target) as file:
        while piece := source.read(_STEP):
            state.update(piece)
            file.write(piece)
    return state.hexdigest()


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def backups(folder: Path) -> list[Path]:
    """The whole backups in a folder, oldest first."""
    found = [one for one in folder.glob("[0-9]*") if (one / SEAL).exists()]
    return sorted(found, key=lambda one: one.name)


@contextlib.contextmanager
def _folder_of_backups(target: Path) -> Iterator[_Folder]:
    if target.exists() and not target.is_dir():
        raise exception.InvalidError(
            f"{target} is a file", hint="Name a folder, or a file that ends in .tar or .tar.gz."
        )
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in target.glob(".draft-*"):
        shutil.rmtree(left)  # of one that was killed; two at once are refused before
    draft = target / f".draft-{os.getpid()}"
    draft.mkdir(0o700)
    try:
        yield _Folder(draft, next(reversed(backups(target)), None))
        os.sync()
        draft.rename(target / _free_name(target))
        sync_folder(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _free_name(target: Path) -> str:
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    names = [name, *(f"{name}.{number}" for number in range(1, 100))]
    return next(one for one in names if not (target / one).exists())


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
