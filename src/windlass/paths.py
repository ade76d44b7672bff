"""Where state lives on this machine. Read by the programs that run on a node and by the local client."""
from __future__ import annotations

import os
import sys
from pathlib import Path

_SOCKET_LIMIT = 100  # bytes of a Unix socket path (108) less the longest name we use


def home() -> Path:
    """The folder that holds all state: ``$WINDLASS_HOME``, else the system's (root) or the user's data folder."""
    if chosen := os.environ.get("WINDLASS_HOME"):
        return Path(chosen).absolute()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/windlass")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "windlass"


def check_system() -> None:
    """Refuse a machine on which no platform can be. Raises ``UnimplementedError``."""
    if sys.platform == "linux":
        return
    from windlass import exception  # seldom needed

    raise exception.UnimplementedError(
        "a platform runs on Linux, so there is none on this machine",
        hint="Use one from here: on its machine `windlass server start --listen 0.0.0.0:8643`, then "
        "`windlass token create NAME`, which prints what to paste here.",
    )


def run(root: Path) -> Path:
    """The folder for sockets, locks and pids below ``root``, or a short stand-in where paths would get too long."""
    folder = root / "run"
    if len(os.fsencode(folder / "containers/server.sock")) <= _SOCKET_LIMIT:
        return folder
    import hashlib  # costly, and seldom needed

    tag = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    owner = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(f"/tmp/windlass-{owner}-{tag}")


def server_socket(root: Path) -> Path:
    """Where users and the worker reach the server."""
    return run(root) / "server.sock"


def containers_socket(root: Path) -> Path:
    """Where runners reach the server; its folder is mounted into containers."""
    return run(root) / "containers" / "server.sock"


def operations_socket(root: Path) -> Path:
    """Where figures and health are asked for."""
    return run(root) / "operations.sock"


def unfinished_restore(root: Path) -> Path:
    """The file that is there while a restored backup takes the place of a home's state: nothing may start then."""
    return root / "restore.json"
