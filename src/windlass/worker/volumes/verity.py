"""Files of layers that the kernel itself guards (fs-verity): each page is compared with a tree of digests when it comes
from the disk, so a flipped bit is an error of the read (``EIO``; ``SIGBUS`` in a memory map) and never wrong bytes.

    volumes/<layer id>/sealed    all of the layer's files are guarded (holds when its index was changed last, which no
                                 copy of the layer can take along)

A sealed file can be read, linked, renamed, given away and removed, but never again written; that is what a file of a
layer is. The tree lies behind the file's end: a hundredth of its size, and a block or two. The kernel undoes what was
cut short, so a file is sealed or is not. Not every kernel and file system can: ext4 and f2fs where they were made for
it, btrfs always; a kernel that cannot does not open what is sealed (``EOPNOTSUPP``). All is compared as well, and where
nothing can be sealed, only that (``checking``).
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PROBE = ".probe-"
_VERSION, _SHA256 = 1, 1
_ENABLE = 0x40806685  # _IOW('f', 133, struct fsverity_enable_arg), as x86, arm and riscv write it
_GETFLAGS, _VERITY = 0x80086601, 0x00100000  # of a "long", as these have it
_ARGUMENT = "=4I Q 2I Q 88x"  # version, algorithm, size of blocks and salt, salt, size of signature, 0, signature
_LARGE = 256 * 1024 * 1024  # bytes that are hashed in a second or so; more may be interrupted
_POLL = 0.1
_RESERVE = 256 * 1024 * 1024  # bytes of the disk that trees leave free
_SHARE = 64  # of a file's size is more than its tree takes
_FEATURE = Path("/sys/fs/ext4/features/verity")  # this kernel has it, whatever the file systems have
SEALED, LATER, NEVER = "sealed", "later", "never"
_ABSENT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS)
_PASSING = (errno.ETXTBSY, errno.EBUSY, errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.ENOMEM)


class Able(NamedTuple):
    """Whether files can be sealed somewhere; why not, and what would help."""

    can: bool
    why: str = ""
    remedy: str = ""


def able(folder: Path) -> Able:
    """Try it out with a file in ``folder``, which leaves nothing."""
    try:
        with _scratch(folder) as name:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enable(descriptor)
                return Able(True) if is_sealed(descriptor) else reason(0, has_kernel=_FEATURE.exists())
            finally:
                os.close(descriptor)
    except OSError as exc:
        return reason(exc.errno or 0, has_kernel=_FEATURE.exists())


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[str]:
    """The name of a small file that nobody has open, for as long as the block runs."""
    descriptor, name = tempfile.mkstemp(prefix=PROBE, dir=folder)
    try:
        os.write(descriptor, b"\n")
        os.close(descriptor)
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def reason(code: int, *, has_kernel: bool) -> Able:
    """Why nothing can be sealed, by what the kernel answered. ``has_kernel``: it could on another file system."""
    if code not in _ABSENT:
        return Able(False, f"fs-verity could not be tried: {os.strerror(code) if code else 'the kernel keeps no seal'}")
    how = "`tune2fs -O verity DEVICE` while it is not mounted, for good (its blocks must have the size of a page)."
    if has_kernel:
        return Able(False, "this file system has no fs-verity", f"On ext4: {how}")
    return Able(
        False, "this kernel or file system has no fs-verity", f"A kernel with CONFIG_FS_VERITY, and on ext4: {how}"
    )


def outcome(code: int) -> str:
    """What an error of sealing one file means: it is, it may be tried again, or it cannot be."""
    if code == errno.EEXIST:
        return SEALED
    return LATER if code in _PASSING else NEVER


def argument(block: int) -> bytes:
    """``struct fsverity_enable_arg``: SHA-256, no salt, no signature."""
    return struct.pack(_ARGUMENT, _VERSION, _SHA256, block, 0, 0, 0, 0, 0)


def is_sealed(descriptor: int) -> bool:
    """Whether the kernel guards an open file."""
    try:
        flags = fcntl.ioctl(descriptor, _GETFLAGS, bytes(8))
    except OSError:
        return False
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _VERITY)


def seal(descriptor: int, pace: Callable[[int], None]) -> str:
    """Let the kernel guard a file, open for reading, as it is now: ``SEALED``, ``LATER`` (somebody writes to it, or
    there is no room) or ``NEVER``. ``pace`` is asked now and then while a large file is hashed, and may raise."""
    state = os.fstat(descriptor)
    if not has_room(state.st_size, os.fstatvfs(descriptor)):
        return LATER
    try:
        if state.st_size <= _LARGE:
            _enable(descriptor)
        else:
            _enable_apart(descriptor, pace)
    except OSError as exc:
        return outcome(exc.errno or 0)
    return SEALED


def has_room(size: int, disk: os.statvfs_result) -> bool:
    """Whether the tree of a file of that size leaves enough of the disk."""
    return disk.f_bavail * disk.f_frsize > _RESERVE + size // _SHARE


def _enable(descriptor: int) -> None:
    block = min(mmap.PAGESIZE, os.fstat(descriptor).st_blksize)
    fcntl.ioctl(descriptor, _ENABLE, argument(block))


def _enable_apart(descriptor: int, pace: Callable[[int], None]) -> None:
    """The kernel hashes a file in one call, which nothing but the death of its process ends. So that a worker that
    shall end need not wait for it, a process of its own makes the call."""
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=descriptor, stdout=subprocess.DEVNULL, env={}) as process:
        try:
            while True:
                try:
                    code = process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    pace(0)
        finally:
            process.kill()
    if code:
        code = max(code, 0) or errno.EINTR  # somebody killed it
        raise OSError(code, os.strerror(code))


# -- what is known of a layer ------------------------------------------------------------------------------


def note(layer: Path, *, whole: bool) -> None:
    """Remember whether all files of a layer are sealed."""
    mark = layer / "sealed"
    if whole:
        mark.write_text(_birth(layer))
    else:
        mark.unlink(missing_ok=True)


def noted(layer: Path) -> bool:
    """Whether all files of a layer are sealed, as far as is known. That of a copy, which are not, is not."""
    try:
        return (layer / "sealed").read_text() == _birth(layer)
    except OSError:
        return False


def _birth(layer: Path) -> str:
    return str((layer / "index.json").stat().st_ctime_ns)


if __name__ == "__main__":
    try:
        _enable(0)
    except OSError as failed:
        sys.exit(failed.errno)
