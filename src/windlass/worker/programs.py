"""The system's programs that the worker starts: where they are looked for, and which package brings each."""
from __future__ import annotations

import os

from windlass import exception

FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PATH = ":".join(FOLDERS)
PACKAGES = {
    "nsenter": "util-linux", "setpriv": "util-linux", "ip": "iproute2", "nft": "nftables", "conmon": "conmon",
    "mmdebstrap": "mmdebstrap", "newuidmap": "uidmap", "newgidmap": "uidmap", "slirp4netns": "slirp4netns",
    "skopeo": "skopeo", "unshare": "util-linux", "rclone": "rclone",
}  # fmt: skip


def look_everywhere() -> None:
    """Let this process find the administrator's programs too: on Debian the PATH of a user has no ``sbin``."""
    own = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join(filter(None, [*own, *(folder for folder in FOLDERS if folder not in own)]))


def missing(name: str) -> exception.ExecutionError:
    """What to raise where ``name`` could not be started because it is not there."""
    package = PACKAGES.get(name.rpartition("/")[2], "")
    hint = f"Install the package {package}: apt-get install {package}" if package else "run: windlass doctor"
    return exception.ExecutionError(f"{name} is not installed", hint=hint)
