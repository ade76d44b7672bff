"""Folders that somebody else filled, as deep in each other as they liked, are removed."""
from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path


def remove(folder: Path) -> None:
    """As ``shutil.rmtree(folder, ignore_errors=True)``, which is as deep in calls, and has as many files open, as the
    folders are: a program in a container makes thousands in each other within a moment. ``rm`` does not mind."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.is_dir() and not folder.is_symlink():
        command = ["rm", "-rf", "--one-file-system", "--", str(folder)]
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
