"""Control groups for the platform of an ordinary user, from systemd.

What a login starts lives in a group of root's, where a user can limit nothing. The user's own systemd hands out groups,
but it ends with the last login, and all that is in them ends with it, unless it lingers (`loginctl enable-linger`). A
platform outlives logins, so it is put into such a group only where that does, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_RUN = ("systemd-run", "--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--description=Windlass")


def around(argv: Sequence[str], *, machine: Path = Path("/")) -> list[str]:
    """``argv``, in a group of its own where this user's systemd gives one that lasts; else as it is."""
    if os.geteuid() == 0:
        return list(argv)
    runtime = machine / f"run/user/{os.getuid()}"
    if not (lingers(machine) and (runtime / "systemd/private").exists() and shutil.which(_RUN[0])):
        return list(argv)
    # Named by itself: after `su`, or in a job of cron, nothing else says where this user's systemd listens.
    return ["env", f"XDG_RUNTIME_DIR={runtime}", *_RUN, "--", *argv]


def lingers(machine: Path = Path("/")) -> bool:
    """Whether what this user's systemd runs outlives logins."""
    import pwd  # not on every system

    try:
        return (machine / "var/lib/systemd/linger" / pwd.getpwuid(os.getuid()).pw_name).exists()
    except KeyError:
        return False
