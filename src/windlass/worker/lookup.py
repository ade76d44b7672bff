"""Whether a container has a program, asked before it is started: what an OCI runtime says of one that is missing is
no sentence for its user."""
from __future__ import annotations

import os
import stat
from pathlib import Path

from windlass import exception
from windlass.worker import spec
from windlass.worker.images import rooted


def check(pid: int, name: str) -> None:
    """Raises ``InvalidError`` where the process ``pid`` of a container could not run ``name``.

    Relative paths with folders in them are the runtime's to find: nobody knows here where the command will begin.
    """
    if "/" in name and not name.startswith("/"):
        return
    try:
        with rooted.at(Path(f"/proc/{pid}/root")) as tree:
            if any(_runs(tree, place) for place in _places(pid, name)):
                return
    except OSError:
        return  # it may have ended this moment, which is for others to say
    what = f"there is no program {name[:200]!r} in the container"
    raise exception.InvalidError(what, hint="Commands are not read by a shell: for one, run `sh -c '…'`.")


def _places(pid: int, name: str) -> list[str]:
    if name.startswith("/"):
        return [name]
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    path = next((os.fsdecode(one[5:]) for one in found if one.startswith(b"PATH=")), spec.PATH)
    return [f"{folder}/{name}" for folder in path.split(":") if folder.startswith("/")]


def _runs(tree: rooted.Root, path: str) -> bool:
    state = tree.state(path)
    return state is not None and stat.S_ISREG(state.st_mode) and bool(state.st_mode & 0o111)
