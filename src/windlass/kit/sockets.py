"""The place of a Unix socket in the file system, which stays when its program dies."""
from __future__ import annotations

import contextlib
import stat
from pathlib import Path

from windlass import exception


def vacate(path: Path) -> None:
    """Remove the socket at ``path``, if there is one. Raises ``ConflictError`` where something else lies there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise exception.ConflictError(
            f"{path} is in the way: a socket belongs there, and it is none",
            hint="Nothing of Windlass makes such a file: look what it is, and move it away.",
        )
    path.unlink(missing_ok=True)


def leave(path: Path) -> None:
    """The same at the end, when what else may lie there by now is nobody's concern."""
    with contextlib.suppress(exception.ConflictError):
        vacate(path)
