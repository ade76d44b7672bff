"""Who listens at a socket of this machine, before anything is told to them: a token above all.

A home with a long path has its sockets below /tmp, in a folder whose name everybody can work out and make first. So it
counts whose that folder is, and who listens in it: the owner of the home, this user, or root.
"""
from __future__ import annotations

import os
import socket
import stat
import struct

from windlass import exception, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_CREDENTIALS = struct.Struct("3i")  # process, user, group


def check(end: socket.socket, path: str, home: Path) -> None:
    """Raise ``PermissionDeniedError`` unless ``path``, to which ``end`` is connected, is the socket of ``home``'s
    platform."""
    trusted, folder = _trusted(home), os.path.dirname(path)  # noqa: PTH120 - paths are costly here
    if not _is_own(folder, home, trusted):
        raise _stranger(f"the folder {folder} of the platform's socket belongs to another user", home)
    if not hasattr(socket, "SO_PEERCRED"):
        return
    told = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user = _CREDENTIALS.unpack(told)[1]
    if user not in trusted:
        raise _stranger(f"at the platform's socket {path} listens a program of user {user}", home)


def _trusted(home: Path) -> set[int]:
    """The users whose platform it may be."""
    users = {0, os.geteuid()}
    try:
        users.add(os.stat(home).st_uid)  # noqa: PTH116
    except OSError:  # it is closed to us, or not there any more
        pass
    return users


def _is_own(folder: str, home: Path, trusted: set[int]) -> bool:
    if folder == str(home / "run"):
        return True  # the home protects what is in it
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in trusted and not found.st_mode & 0o022


def _stranger(what: str, home: Path) -> exception.PermissionDeniedError:
    return exception.PermissionDeniedError(
        f"{what}: nothing was sent to it",
        hint=f"The path of {home} is so long that its sockets lie in {paths.run(home)}, which another user has made. "
        "Have that folder removed, or set WINDLASS_HOME to a shorter path."
        if paths.run(home) != home / "run"
        else "End that program; then `windlass server start`.",
    )
