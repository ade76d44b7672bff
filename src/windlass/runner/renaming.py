"""Renames from Python in volumes, where the kernel does otherwise than programs expect.

A volume is an overlay without redirects (which only the machine's own root can have). So a folder that a commit has
taken, and be it one in the background, is a lower one, and to rename it fails with ``EXDEV``. Programs do not expect
that: they write a checkpoint beside the place where it shall be, and rename it. What is in such a folder is renamed one
by one instead. It is not one step, so a commit in the middle keeps what was there; what was committed is copied.

Other programs than Python see what the kernel says: ``EXDEV``, for which ``mv`` copies by itself.
"""
from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def install() -> None:
    """For all that ends in ``os.rename`` or ``os.replace``: ``pathlib``, ``shutil.move``."""
    os.rename = made(os.rename)
    os.replace = made(os.replace)


def made(kernel: Callable[..., None]) -> Callable[..., None]:
    """``kernel``, which renames what it can, and folders of overlays."""

    def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        try:
            return kernel(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        except OSError as exc:
            by_path = src_dir_fd is None and dst_dir_fd is None
            if exc.errno != errno.EXDEV or not by_path or not _is_folder_of_one_mount(src, dst):
                raise
        _move(src, dst, rename)

    rename.__name__ = rename.__qualname__ = kernel.__name__
    rename.__doc__ = kernel.__doc__
    if kernel in os.supports_dir_fd:
        os.supports_dir_fd.add(rename)
    return rename


def _is_folder_of_one_mount(src: Any, dst: Any) -> bool:
    import stat

    beside = os.path.dirname(os.path.abspath(dst))  # noqa: PTH100, PTH120 - as the caller wrote it
    return stat.S_ISDIR(os.lstat(src).st_mode) and _mount(src, os.O_NOFOLLOW) == _mount(beside)


def _mount(path: Any, flags: int = 0) -> str:
    """Which mount it is seen in. Several, of network file systems for example, may show one device."""
    end = os.open(path, os.O_PATH | flags)
    try:
        with open(f"/proc/self/fdinfo/{end}") as lines:  # noqa: PTH123 - pathlib is costly to import
            return next(line for line in lines if line.startswith("mnt_id:"))
    finally:
        os.close(end)


def _move(src: Any, dst: Any, rename: Callable[[Any, Any], None]) -> None:
    import shutil

    if os.path.lexists(dst):
        os.rmdir(dst)  # noqa: PTH106 - as of a rename: an empty folder gives way, no other
    os.mkdir(dst, 0o700)  # noqa: PTH102
    for name in os.listdir(src):  # noqa: PTH208
        rename(os.path.join(src, name), os.path.join(dst, name))  # noqa: PTH118
    shutil.copystat(src, dst)
    os.rmdir(src)  # noqa: PTH106
