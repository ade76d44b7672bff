"""Where a sandbox of the starter is made: a user namespace of its own, and a process that makes the rest in there."""
from __future__ import annotations

import contextlib
import os
from pathlib import Path

from windlass.worker import linux
from windlass.worker.snapshots import cell

_IDS = 65535


class Place:
    """A user namespace, and the process that makes one cell in it."""

    def __init__(self) -> None:
        self.userns = _user_namespace()
        try:
            self.maker = cell.Maker(self.userns, once=True)
        except OSError:
            os.close(self.userns)
            raise

    def close(self) -> None:
        os.close(self.userns)
        self.maker.close()


def _user_namespace() -> int:
    """A descriptor of a new user namespace with the ids of containers."""
    with contextlib.ExitStack() as undo:
        said, heard = _pipe(undo), _pipe(undo)
        owner = os.fork()
        undo.pop_all()
    if owner == 0:
        with contextlib.suppress(BaseException):
            linux.unshare(linux.NEWUSER)
            linux.set_dumpable(True)  # else its files in /proc are not ours to write
            os.write(said[1], b"u")
            os.close(said[1])
            os.close(heard[1])
            os.read(heard[0], 1)
        os._exit(0)
    os.close(said[1])
    try:
        if os.read(said[0], 1) != b"u":
            raise OSError(0, "no user namespace")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{owner}/{name}").write_text(f"0 1 {_IDS}\n")
        return os.open(f"/proc/{owner}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(heard[1])
        os.close(said[0])
        os.close(heard[0])
        os.waitpid(owner, 0)


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        undo.callback(os.close, end)
    return ends
