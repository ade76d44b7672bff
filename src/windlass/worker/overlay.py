"""Root file systems: layers stacked by the kernel, a private one on top."""
from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from windlass import exception

_NOSUID, _NODEV = 2, 4
_DETACH = 2
_LONGEST = 4000  # bytes of mount options that fit into one page
_libc = ctypes.CDLL(None, use_errno=True)


def mount(
    target: Path, *, lowers: Sequence[Path], upper: Path | None = None, work: Path | None = None, suid: bool = True
) -> None:
    """Stack ``lowers`` (bottom first) and ``upper`` at ``target``. Works inside a user namespace.

    Without ``upper`` (and its ``work``) nothing can be changed; there must be two ``lowers`` then. ``suid``: programs
    may run as their owner.
    """
    with contextlib.ExitStack() as held:
        layers = [_escape(path) for path in reversed(lowers)]
        options = _options(layers, upper, work)
        if len(options) > _LONGEST:
            # Descriptors are shorter than paths: some two hundred layers fit.
            layers = [f"/proc/self/fd/{held.enter_context(_opened(path))}" for path in reversed(lowers)]
            options = _options(layers, upper, work)
        if len(options) > _LONGEST:
            raise exception.InvalidError(f"a stack of {len(lowers)} layers and mounts is too tall for this kernel")
        _mount(target, options, _NODEV if suid else _NODEV | _NOSUID)


def unmount(target: Path) -> None:
    """Take the stack away, at once for new users; a mount that is gone already is fine."""
    _libc.umount2(os.fsencode(target), _DETACH)


def _mount(target: Path, options: str, flags: int) -> None:
    if _libc.mount(b"overlay", os.fsencode(target), b"overlay", flags, options.encode()) < 0:
        code = ctypes.get_errno()
        raise exception.ExecutionError(
            f"cannot stack layers: {os.strerror(code)}",
            hint="`windlass doctor` says whether this kernel can mount overlays here.",
        )


def _options(layers: Sequence[str], upper: Path | None, work: Path | None) -> str:
    options = f"userxattr,lowerdir={':'.join(layers)}"
    if upper is not None and work is not None:
        options += f",upperdir={_escape(upper)},workdir={_escape(work)}"
    return options


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
