"""What git says about the folder that an app is deployed from. Best effort: no git, no repository, no answer."""
from __future__ import annotations

import os
import shutil
import subprocess

from windlass.wire.messages import deployments

_PATIENCE = 3.0  # seconds; the status of a large repository may take longer


def look(folder: str) -> deployments.Commit | None:
    """Blocks; call it in a thread."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        status = _ask([git, "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no"])
        author = _ask([git, "-C", folder, "log", "-1", "--format=%an <%ae>"])
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and " " in line[2:])
    return {
        "hash": heads.get("branch.oid", ""),
        "branch": heads.get("branch.head", ""),
        "dirty": any(not line.startswith("#") for line in lines),
        "author": author.strip()[:200],
    }


def _ask(command: list[str]) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=True
    )
    return done.stdout.decode("utf-8", "replace")
