"""A layer as a tar stream in the words of OCI images. The same tree gives the same bytes.

What overlayfs says by special files and attributes, a tar says by names: ``.wh.NAME`` for something removed,
``.wh..wh..opq`` for a folder that hides what is below. Owners are shifted back to a container's own numbers, files
with several names stay one, extended attributes travel but for those of overlayfs. Nothing is kept in memory but the
names of linked files.
"""
from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker.images import cache, seal

_PIECE = 1024 * 1024
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_REGULAR, _HARD, _SYMBOLIC, _FOLDER, _PIPE, _MORE = b"0", b"1", b"2", b"5", b"6", b"x"
_GONE, _OPAQUE = b".wh.", b".wh..wh..opq"
_OVERLAY = "user.overlay."
_CAPABILITY = "security.capability"
_LONGEST_NAME = 100
_LARGEST_SIZE = 8**11 - 1

Sink = Callable[[bytes], object]


class Head(NamedTuple):
    """What stands before the bytes of one entry."""

    name: bytes
    kind: bytes = _REGULAR
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    size: int = 0
    time: int = 0
    link: bytes = b""
    attributes: tuple[tuple[bytes, bytes], ...] = ()


def layer(tree: Path, sink: Sink) -> None:
    """Write the whole stream of the layer whose files are ``tree``."""
    top = os.fsencode(tree)
    linked: dict[tuple[int, int], bytes] = {}
    _folder(top, b"./", os.lstat(top), sink)
    for path, state in seal.walk(top):
        name = path[len(top) + 1 :]
        if stat.S_ISDIR(state.st_mode):
            _folder(path, name + b"/", state, sink)
        elif _is_whiteout(path, state):
            folder, slash, last = name.rpartition(b"/")
            sink(header(Head(folder + slash + _GONE + last)))
        elif not stat.S_ISSOCK(state.st_mode):
            _entry(path, name, state, linked, sink)
    sink(_END)


def padding(size: int) -> bytes:
    """What fills the last block of ``size`` bytes."""
    return bytes(-size % _BLOCK)


def header(head: Head) -> bytes:
    """The blocks before an entry's bytes; those with long names, large sizes or attributes get a second header."""
    more = [(b"SCHILY.xattr." + name, value) for name, value in head.attributes]
    if len(head.name) > _LONGEST_NAME:
        more.append((b"path", head.name))
    if len(head.link) > _LONGEST_NAME:
        more.append((b"linkpath", head.link))
    if head.size > _LARGEST_SIZE:
        more.append((b"size", b"%d" % head.size))
    if not 0 <= head.time <= _LARGEST_SIZE:
        more.append((b"mtime", b"%d" % head.time))
    plain = _block(head)
    if not more:
        return plain
    text = b"".join(_record(key, value) for key, value in sorted(more))
    return _block(Head(b"PaxHeaders/more", _MORE, size=len(text))) + text + padding(len(text)) + plain


def _folder(path: bytes, name: bytes, state: os.stat_result, sink: Sink) -> None:
    sink(header(_head(path, name, state, _FOLDER)))
    if _attribute(path, _OVERLAY + "opaque") == b"y":
        sink(header(Head((b"" if name == b"./" else name) + _OPAQUE)))


def _entry(path: bytes, name: bytes, state: os.stat_result, linked: dict[tuple[int, int], bytes], sink: Sink) -> None:
    if name.rpartition(b"/")[2].startswith(_GONE):
        raise exception.ExecutionError(f"a file named {os.fsdecode(name)!r} has no place in an OCI archive")
    if state.st_nlink > 1:
        first = linked.setdefault((state.st_dev, state.st_ino), name)
        if first != name:
            sink(header(_head(path, name, state, _HARD)._replace(link=first, attributes=())))
            return
    if stat.S_ISLNK(state.st_mode):
        sink(header(_head(path, name, state, _SYMBOLIC)._replace(link=os.readlink(path), mode=0o777)))  # noqa: PTH115
    elif stat.S_ISFIFO(state.st_mode):
        sink(header(_head(path, name, state, _PIPE)))
    elif stat.S_ISREG(state.st_mode):
        sink(header(_head(path, name, state, _REGULAR)._replace(size=state.st_size)))
        for piece in _pieces(path, state.st_size):
            sink(piece)
        sink(padding(state.st_size))
    else:
        raise exception.ExecutionError(f"{os.fsdecode(name)!r} is a device; an image cannot hold one")


def _head(path: bytes, name: bytes, state: os.stat_result, kind: bytes) -> Head:
    return Head(
        name, kind, stat.S_IMODE(state.st_mode), _shifted(state.st_uid), _shifted(state.st_gid),
        time=int(state.st_mtime_ns // 10**9), attributes=tuple(_attributes(path)),
    )  # fmt: skip


def _shifted(node_id: int) -> int:
    """A container's number for a user or group of the node."""
    return max(0, node_id - cache.CONTAINER_ROOT)


def _pieces(path: bytes, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes of a file. Raises ``DataLossError`` where it has others by now."""
    descriptor, left = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), size
    try:
        while left and (piece := os.read(descriptor, min(_PIECE, left))):
            left -= len(piece)
            yield piece
        if left or os.read(descriptor, 1):
            raise exception.DataLossError(
                f"{os.fsdecode(path)} changed under our hands", hint="`windlass image fsck` says what is damaged."
            )
    finally:
        os.close(descriptor)


def _is_whiteout(path: bytes, state: os.stat_result) -> bool:
    if stat.S_ISCHR(state.st_mode):
        return state.st_rdev == 0
    empty = stat.S_ISREG(state.st_mode) and state.st_size == 0
    return empty and _attribute(path, _OVERLAY + "whiteout") is not None


def _attributes(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name == _CAPABILITY or (name.startswith("user.") and not name.startswith(_OVERLAY)):
            value = os.getxattr(path, name, follow_symlinks=False)
            yield os.fsencode(name), _unbound(value) if name == _CAPABILITY else value


def _unbound(capability: bytes) -> bytes:
    """File capabilities without the user namespace that they were given in (revision 3 becomes 2)."""
    revision = struct.unpack("<I", capability[:4])[0]
    if revision >> 24 != 3:
        return capability
    return struct.pack("<I", revision & 0xFFFFFF | 2 << 24) + capability[4:20]


def _attribute(path: bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return None


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH key=value\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(head: Head) -> bytes:
    size = head.size if head.size <= _LARGEST_SIZE else 0
    time = head.time if 0 <= head.time <= _LARGEST_SIZE else 0
    fields = (
        head.name[:_LONGEST_NAME], b"%07o" % head.mode, b"%07o" % head.owner, b"%07o" % head.group, b"%011o" % size,
        b"%011o" % time, b" " * 8, head.kind, head.link[:_LONGEST_NAME], b"ustar\x0000", b"", b"", b"0000000",
        b"0000000", b"",
    )  # fmt: skip
    block = bytearray(struct.pack("100s8s8s8s12s12s8sc100s8s32s32s8s8s167s", *fields))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
