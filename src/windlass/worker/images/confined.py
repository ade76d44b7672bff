"""A folder that nothing named below it can leave: all that ``unpack`` writes goes through here.

Every name is walked from the folder's descriptor, one part at a time, links not followed by the kernel but read and
checked here; no path is ever given to the kernel as a whole. Nobody else writes into the folder meanwhile.
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

OPAQUE = "user.overlay.opaque"

_DEPTH = 256
_LONGEST = 4096
_LINKS = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)

Names = tuple[str, ...]


class Refused(Exception):
    """The archive asks for something that it must not have, or is broken."""


def names(path: str, what: str = "name") -> Names:
    """The parts of a relative path; none for the folder itself. Raises ``Refused`` for what could lead out."""
    if "\0" in path:
        raise Refused(f"the {what} {_shown(path)} holds a zero byte")
    if path.startswith("/"):
        raise Refused(f"the {what} {_shown(path)} is absolute")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Refused(f"the {what} {_shown(path)} climbs by '..'")
    if len(parts) > _DEPTH or len(os.fsencode(path)) > _LONGEST:
        raise Refused(f"the {what} {_shown(path)} is too long")
    return parts


def _shown(path: str) -> str:
    return repr(path if len(path) <= 100 else f"{path[:100]}…")


def is_whiteout(state: os.stat_result) -> bool:
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == 0


class Folder:
    """The folder of descriptor ``root``, which stays the caller's."""

    def __init__(self, root: int) -> None:
        self._names: list[str] = []  # of the folders that are open now, each within the one before
        self._open = [root]

    def enter(self, parts: Sequence[str], *, make: bool = True) -> tuple[int, Names]:
        """The descriptor of the folder ``parts``, and where it really is. It is good until the next call.

        Folders that are missing are made. Links on the way are followed as long as they are relative and stay inside.
        """
        at: list[str] = []
        rest, links = list(reversed(parts)), 0
        while rest:
            part = rest.pop()
            if part == "..":
                if not at:
                    raise Refused(f"the links of {'/'.join(parts)!r} climb out")
                at.pop()
                continue
            if len(at) >= _DEPTH:
                raise Refused(f"{_shown('/'.join(parts))} is too deep")
            goal = self._step(at, part, make)
            if goal is None:
                at.append(part)
                continue
            links += 1
            if goal.startswith("/") or links > _LINKS:
                raise Refused(f"{_shown('/'.join(parts))} leads through the link {part!r} to {_shown(goal)}")
            rest += [name for name in reversed(goal.split("/")) if name not in ("", ".")]
        return self._at(at), tuple(at)

    def _step(self, at: list[str], part: str, make: bool) -> str | None:
        """Go one folder down; the goal of the link that is there instead, if one is."""
        if self._names[: len(at) + 1] == [*at, part]:
            return None
        parent = self._at(at)
        try:
            descriptor = os.open(part, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise Refused(f"{part!r} does not exist") from None
            descriptor = self._made(parent, part)
        except OSError as exc:
            if exc.errno not in _NO_FOLDER:
                raise
            state = os.lstat(part, dir_fd=parent)
            if stat.S_ISLNK(state.st_mode):
                return os.readlink(part, dir_fd=parent)
            if not make or not is_whiteout(state):
                raise Refused(f"{part!r} is no folder") from None
            os.unlink(part, dir_fd=parent)
            descriptor = self._made(parent, part)
            os.setxattr(descriptor, OPAQUE, b"y")  # what lies below was removed before
        self._names.append(part)
        self._open.append(descriptor)
        return None

    @staticmethod
    def _made(parent: int, part: str) -> int:
        os.mkdir(part, 0o755, dir_fd=parent)
        return os.open(part, _DIRECTORY, dir_fd=parent)

    def _at(self, at: Sequence[str]) -> int:
        """The descriptor of a folder whose way holds no links; deeper ones are closed."""
        same = 0
        while same < min(len(at), len(self._names)) and at[same] == self._names[same]:
            same += 1
        self._leave(same)
        for part in at[same:]:
            self._open.append(os.open(part, _DIRECTORY, dir_fd=self._open[-1]))
            self._names.append(part)
        return self._open[-1]

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._open.pop())

    def look(self, at: Names) -> int | None:
        """The descriptor of a folder by where it really is; None if it is one no more."""
        try:
            return self._at(at)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                return None
            raise

    def clear(self, parent: int, name: str) -> bool:
        """Remove whatever ``name`` is in the folder just entered. Whether it was a whiteout."""
        try:
            state = os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(state.st_mode):
            self._leave(self._open.index(parent))
            _remove(parent, name)
        else:
            os.unlink(name, dir_fd=parent)
        return is_whiteout(state)

    def close(self) -> None:
        """Let go of everything but the root."""
        self._leave(0)


def _remove(parent: int, name: str) -> None:
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(descriptor) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_folder in found:
            if is_folder:
                _remove(descriptor, inner)
            else:
                os.unlink(inner, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)
