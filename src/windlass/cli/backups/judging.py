"""What a backup may hold. It may come from anybody, and is unpacked by root: nothing in it may reach beyond the home.

Trees of containers (volumes, network file systems, images) hold what containers made: links to wherever they like, and
programs with rights inside of containers. They are allowed there and nowhere else, and nothing is ever written by way
of a link. What the database says is believed: who restores a backup trusts whoever made it with the platform.
"""
from __future__ import annotations

import base64
import binascii
import dataclasses
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence

from windlass import exception
from windlass.cli.backups import entries, parts

_TREES = {"volumes": "files", "nfs": "files", "layers": "files", "pythons": ""}
"""Where containers' files are: below ``<part>/<id>/<this>``."""
_SHARING = {*_TREES, "blobs"}
_IDS = 65536  # users of containers, and 0 for the owner of the home
_RIGHTS = struct.Struct("<I16sI")
_REVISIONS = {0x02000000: 20, 0x03000000: 24}  # of file capabilities, with their sizes


def check_parts(names: Sequence[str]) -> None:
    """Raise ``DataLossError`` where it would replace what is no part of a home."""
    if strange := [name for name in names if name not in (*parts.STATE, *parts.IMAGES)]:
        raise _refused(str(strange[0]), "no part of a home")


def check(listed: Iterable[entries.Entry], names: Sequence[str]) -> None:
    """Raise ``DataLossError`` for entries that no backup of Windlass has."""
    kinds: dict[str, str] = {}
    for entry in listed:
        if entry.path in kinds:
            raise _refused(entry.path, "there twice")
        kinds[entry.path] = entry.kind
    for entry in listed:
        _check_numbers(entry)
        if entry.path.split("/")[0] not in names:
            raise _refused(entry.path, "in no part of a home")
        for path in (entry.path, entry.target) if entry.kind == entries.SAME else (entry.path,):
            if any(kinds.get(parent, entries.FOLDER) != entries.FOLDER for parent in _parents(path)):
                raise _refused(path, "below something that is no folder")
        if entry.kind == entries.SAME:
            _check_shared(entry, kinds)
        _check_kind(entry)


def _check_shared(entry: entries.Entry, kinds: Mapping[str, str]) -> None:
    """Of one file with two names: what containers write is never the server's own as well."""
    if kinds.get(entry.target) != entries.FILE:
        raise _refused(entry.path, "another name of what is no file")
    if not _SHARING.issuperset(path.split("/")[0] for path in (entry.path, entry.target)):
        raise _refused(entry.path, "another name of a file")


def _check_numbers(entry: entries.Entry) -> None:
    whole = all(type(one) is int for one in (entry.mode, entry.uid, entry.gid, entry.mtime, entry.size))
    if not whole or not 0 <= entry.mode <= 0o7777 or min(entry.uid, entry.gid) < 0:
        raise _refused(entry.path, "of an impossible mode or owner")
    if max(entry.uid, entry.gid) > _IDS:
        raise _refused(entry.path, "owned by somebody who is no user of containers")


def _check_kind(entry: entries.Entry) -> None:
    is_inside = _is_of_containers(entry.path)
    if entry.kind == entries.LINK and not is_inside:
        raise _refused(entry.path, "a link")
    if entry.kind == entries.DEVICE and (entry.target != "0" or not is_inside):
        raise _refused(entry.path, "a device")  # number 0 marks what a layer removes
    if entry.kind not in (entries.FILE, entries.FOLDER, entries.LINK, entries.SAME, entries.DEVICE):
        raise _refused(entry.path, "of an unknown kind")
    for name in entry.xattrs:
        is_program = is_inside and entry.kind in (entries.FILE, entries.SAME)
        if not name.startswith("user.") and not (name == entries.RIGHTS and is_program):
            raise _refused(entry.path, f"marked with {name[:40]!r}")


def settled(entry: entries.Entry) -> entries.Entry:
    """The entry without rights on this machine: those that hold in containers stay.

    A program that runs as the owner of the home, or in their group, would lend these to all who reach it.
    """
    mode = entry.mode
    if entry.kind != entries.FOLDER and (entry.uid == 0 or not _is_of_containers(entry.path)):
        mode &= ~stat.S_ISUID
    if entry.kind != entries.FOLDER and (entry.gid == 0 or not _is_of_containers(entry.path)):
        mode &= ~stat.S_ISGID
    marks = {
        name: _rights(value, entries.outside(1, 0)) if name == entries.RIGHTS else value
        for name, value in entry.xattrs.items()
    }
    return dataclasses.replace(entry, mode=mode, xattrs=marks)


def _is_of_containers(path: str) -> bool:
    pieces = path.split("/")
    below = _TREES.get(pieces[0])
    if below is None:
        return False
    return len(pieces) > 3 and pieces[2] == below if below else len(pieces) > 2


def _parents(path: str) -> Iterable[str]:
    pieces = path.split("/")
    return ("/".join(pieces[:depth]) for depth in range(1, len(pieces)))


def _rights(text: str, root: int) -> str:
    """File capabilities that hold where user ``root`` of this machine is root, which is in containers, and nowhere
    else."""
    try:
        data = base64.b64decode(text, validate=True)
        (word,) = struct.unpack_from("<I", data)
    except (binascii.Error, struct.error):
        data, word = b"", 0
    if _REVISIONS.get(word & 0xFF000000) != len(data):
        raise exception.DataLossError("the backup has a file with rights that nobody knows")
    return base64.b64encode(_RIGHTS.pack(0x03000000 | word & 0xFFFFFF, data[4:20], root)).decode()


def _refused(path: str, what: str) -> exception.DataLossError:
    return exception.DataLossError(
        f"the backup has {path[:200]!r}, {what}: no backup of Windlass has that",
        hint="Who made it? Nothing was restored.",
    )
