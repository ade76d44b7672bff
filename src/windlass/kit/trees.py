"""Folders that somebody else filled, as deep in each other as they liked, are removed."""
from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from windlass.kit import ids


def remove(folder: Path) -> None:
    """As ``shutil.rmtree(folder, ignore_errors=True)``, which is as deep in calls, and has as many files open, as the
    folders are: a program in a container makes thousands in each other within a moment."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _flatten(root)
        finally:
            os.close(root)
        folder.rmdir()


def _flatten(root: int) -> None:
    """Empty a folder: what is in a folder of it moves up to it, so that nothing is deeper than that."""
    progress = True
    while progress:
        progress = False
        for name in os.listdir(root):
            with contextlib.suppress(OSError):
                if _is_gone(root, name):
                    progress = True
                    continue
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
                try:
                    for inner in os.listdir(folder):  # noqa: PTH208
                        if not _is_gone(folder, inner):
                            os.rename(inner, ids.new("up"), src_dir_fd=folder, dst_dir_fd=root)
                            progress = True
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=root)
                progress = True


def _is_gone(parent: int, name: str) -> bool:
    """Remove what is no folder."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        return False
    return True
