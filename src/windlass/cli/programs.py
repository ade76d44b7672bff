"""What the supervisor and `windlass server` both know of a running platform: its lock, its state file, its logs.

    run/supervisor.lock   held (flock) by the supervisor for life
    run/supervisor.json   what it runs: written anew, by rename, on each change
    log/<program>.log     output of each program

Imports little: the supervisor lives for ever.
"""
from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass import paths

if TYPE_CHECKING:
    from windlass import exception

NAMES = ("server", "worker")
_ROTATE_AT = 8 * 1024 * 1024


def state_file(root: Path) -> Path:
    return paths.run(root) / "supervisor.json"


def log_file(root: Path, name: str) -> Path:
    return root / "log" / f"{name}.log"


def prepare(root: Path) -> None:
    """Make the folders that the programs expect."""
    check_owner(root)
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    (root / "log").mkdir(mode=0o700, exist_ok=True)
    run = paths.run(root)
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    if run.stat().st_uid != os.geteuid():
        raise of_somebody_else(root)


def take_lock(root: Path) -> int | None:
    """The file descriptor that holds the supervisor's lock, or None where another one holds it."""
    import fcntl  # not on every system, from which a platform elsewhere can be used

    path = paths.run(root) / "supervisor.lock"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        # The one who held it before may have removed the file between our open and our lock.
        try:
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def is_running(root: Path) -> bool:
    """Whether a supervisor lives for this home. Raises ``PermissionDeniedError`` where it is somebody else's."""
    check_owner(root)  # what runs for a home with a long name is told in a folder of whoever asks
    try:
        if not (paths.run(root) / "supervisor.lock").exists():
            return False
        fd = take_lock(root)
    except PermissionError:
        raise of_somebody_else(root) from None
    if fd is None:
        return True
    os.close(fd)
    return False


def check_owner(root: Path) -> None:
    """Refuse a home that is there and somebody else's, unless they made it for us. Root may use any.

    Raises ``UnimplementedError`` on a system that can have no platform at all.
    """
    paths.check_system()
    _check_stand_in(root)
    try:
        owner = root.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise of_somebody_else(root) from None
    if os.geteuid() not in (0, owner) and not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        raise of_somebody_else(root)


def _check_stand_in(root: Path) -> None:
    """Refuse a folder below /tmp that another user has made: they could tell us to end any process."""
    from windlass import exception

    run = paths.run(root)
    if run == root / "run":
        return
    try:
        found = run.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise exception.PermissionDeniedError(
            f"the folder {run}, where what runs for {root} is noted, belongs to another user",
            hint="Have that folder removed, or set WINDLASS_HOME to a shorter path, which needs no such folder.",
        )


def of_somebody_else(root: Path) -> exception.Error:
    """The error for what only its owner may do."""
    from windlass import exception

    return exception.PermissionDeniedError(
        f"the platform in {root} belongs to another user",
        hint="Ask its owner for a token (`windlass token create NAME`), or choose another folder with WINDLASS_HOME.",
    )


def read_state(root: Path) -> dict[str, Any]:
    """What the supervisor wrote last; empty where it never did."""
    try:
        state = json.loads(state_file(root).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(root: Path, state: dict[str, Any]) -> None:
    path = state_file(root)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def open_log(root: Path, name: str) -> int:
    """A descriptor that appends to the program's log; a large one is put aside first."""
    path = log_file(root, name)
    if path.exists() and path.stat().st_size > _ROTATE_AT:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
