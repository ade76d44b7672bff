"""What a fork must have of its own: randomness, output, names; and the walls of any other container.

The standard library and numpy are covered. Whatever user code has drawn or copied before the fork point (a generator of
its own, a session id) is the same in all forks: that is what a snapshot is.
"""
from __future__ import annotations

import ctypes
import os
import signal
import sys

from windlass.runner import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SEED = 32
_PIECE = 65536
_CAPBSET_READ, _CAPBSET_DROP = 23, 24
_CLONE, _CLONE_PARENT = 56, 0x8000  # on x86-64, the only kind of processor that has forks
_libc: ctypes.CDLL | None = None


def prepare() -> None:
    """Before the fork point: have ready what forks use at once."""
    global _libc
    _libc = ctypes.PyDLL(None)


def copy() -> int:
    """A fork that lives only to fork again: neither Python nor the C library prepares it for more. It is a child of our
    parent, process 1, which buries it. Returns 0 in the child."""
    assert _libc is not None
    child: int = _libc.syscall(_CLONE, _CLONE_PARENT | signal.SIGCHLD, None, None, None, None)
    if child < 0:
        raise OSError(0, "the template could not be forked")
    return child


def read(path: str) -> bytes:
    """A file's content, by the calls of the system alone: Python's files are objects enough to copy some 40 pages."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(descriptor, _PIECE):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def streams(out: int, err: int) -> None:
    """The own output. Python's streams stay the same objects: loggers hold them."""
    marks.redirect(out, err)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    for number in (out, err, null):
        os.close(number)


def randomness() -> None:
    """New seeds for every generator that is global. ``os.urandom``, and so ``secrets`` and uuid4, are the kernel's."""
    modules: Any = sys.modules  # never a copy of it: that counts a reference, and so copies a page, of each module
    if (random := modules.get("random")) is not None:
        random.seed()
    if (numpy := modules.get("numpy.random")) is not None:
        numpy.seed()
    if (ssl := modules.get("ssl")) is not None:
        ssl.RAND_add(os.urandom(_SEED), float(_SEED))
    if (tempfile := modules.get("tempfile")) is not None:
        tempfile._name_sequence = None
    if (uuid := modules.get("uuid")) is not None:
        uuid._node = uuid._last_timestamp = None
    if (process := modules.get("multiprocessing.process")) is not None:
        process.current_process()._config["authkey"] = process.AuthenticationString(os.urandom(_SEED))


def bounds() -> None:
    """Give up for good what the process does not have anyway, as other containers have: it cannot gain privileges."""
    assert _libc is not None
    _, _, rest = read("/proc/self/status").partition(b"\nCapPrm:")
    permitted = int(rest.split(None, 1)[0], 16)
    number = 0
    while _libc.prctl(_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if not permitted >> number & 1:
            _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
        number += 1
