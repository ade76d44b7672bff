"""A layer of a volume as one file, for a place where objects are kept, and back.

    packs/<layer id>.tar     on its way out (made here, read by the server) or in (the other way round)

The archive holds the layer as it lies on the disk, with what tar cannot say otherwise in headers of its own: extended
attributes and times to the nanosecond. It is trusted only after the server has compared its digest.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import volumes as messages
from windlass.worker.volumes import layers as layer_store

_ATTRIBUTE, _TIME = "SCHILY.xattr.", "WINDLASS.mtime"
_CHUNK = 1024 * 1024


def place(home: Path, layer_id: str) -> Path:
    """Raises ``InvalidError`` for what is no id of a layer."""
    if not ids.is_id(layer_id, "vl"):
        raise exception.InvalidError(f"{layer_id[:80]!r} is no layer of a volume")
    folder = home / "packs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{layer_id}.tar"


def pack(layers: layer_store.Layers, layer_id: str) -> messages.Packed:
    """Write a layer's archive. Raises ``NotFoundError`` where there is no such layer."""
    target = place(layers.home, layer_id)
    with layers.hold([layer_id]):
        root = layers.files(layer_id).parent
        draft = target.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                hashed: Any = _Hashed(file)
                with tarfile.open(mode="w|", fileobj=hashed, format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as archive:
                    for path in [root / "index.json", *_walk(root / "files")]:
                        _add(archive, path, str(path.relative_to(root)))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    return {"digest": f"sha256:{hashed.state.hexdigest()}", "size": hashed.size}


def unpack(layers: layer_store.Layers, layer_id: str) -> None:
    """Make a layer of its archive, which the server has looked at. One that is here already stays.

    Raises:
        DataLossError: the archive is no layer.
    """
    source = place(layers.home, layer_id)
    if (layers.root / layer_id / "index.json").exists():
        return
    with layers.draft() as draft:
        try:
            with tarfile.open(source, "r:") as archive:
                _extract(archive, draft)
        except (tarfile.TarError, ValueError, FileExistsError, NotADirectoryError) as exc:
            raise exception.DataLossError(f"the archive of layer {layer_id} is damaged: {exc}") from None
        with contextlib.suppress(FileExistsError):
            draft.rename(layers.root / layer_id)


class _Hashed:
    """A file that is written, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.state = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.state.update(data)
        self.size += len(data)
        return self._file.write(data)


def _walk(folder: Path) -> Iterator[Path]:
    """The folder, and everything below it; a folder before what is in it."""
    yield folder
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = archive.gettarinfo(path, name)
    state = path.lstat()
    info.uname = info.gname = ""
    headers = {_TIME: str(state.st_mtime_ns)}
    if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
        for attribute in os.listxattr(path, follow_symlinks=False):
            if attribute.startswith("user."):
                value = os.getxattr(path, attribute, follow_symlinks=False)
                headers[_ATTRIBUTE + attribute] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = headers
    if info.isreg():
        with path.open("rb") as file:
            archive.addfile(info, file)
    else:
        archive.addfile(info)


def _extract(archive: tarfile.TarFile, draft: Path) -> None:
    folders: list[tuple[tarfile.TarInfo, Path]] = []
    for info in archive:
        parts = info.name.split("/")
        if ".." in parts or not (parts[0] == "files" or parts == ["index.json"]):
            raise ValueError(f"it may not hold {info.name!r}")
        path = draft.joinpath(*parts)
        _make(archive, info, path, draft)
        if info.isdir():
            folders.append((info, path))  # whose times change with what is put into them
        elif not info.islnk():
            _dress(info, path)
    for info, path in reversed(folders):
        _dress(info, path)


def _make(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path, draft: Path) -> None:
    if info.isdir():
        if path != draft / "files":
            path.mkdir(0o700)
    elif info.isreg():
        source: Any = archive.extractfile(info)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:  # noqa: PTH123
            while piece := source.read(_CHUNK):
                file.write(piece)
    elif info.islnk():
        if ".." in info.linkname.split("/") or not info.linkname.startswith("files/"):
            raise ValueError(f"a name of another file leads out: {info.linkname!r}")
        os.link(draft / info.linkname, path, follow_symlinks=False)
    elif info.issym():
        path.symlink_to(info.linkname)
    elif info.ischr() and (info.devmajor, info.devminor) == (0, 0):
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
    else:
        raise ValueError(f"{info.name!r} is nothing that a layer has")


def _dress(info: tarfile.TarInfo, path: Path) -> None:
    os.chown(path, info.uid, info.gid, follow_symlinks=False)
    if not info.issym():
        path.chmod(info.mode)
    for key, value in info.pax_headers.items():
        if key.startswith(_ATTRIBUTE):
            os.setxattr(path, key.removeprefix(_ATTRIBUTE), value.encode("utf-8", "surrogateescape"))
    if (time := info.pax_headers.get(_TIME)) is not None:
        os.utime(path, ns=(int(time), int(time)), follow_symlinks=False)
