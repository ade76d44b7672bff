"""What stands between the kernel and the program that mounts a bucket: lets their messages through, and says EPERM to
what a bucket cannot do, whoever asks.

    containers ── kernel ── /dev/fuse ── this ── a pair of sockets ── rclone ── the bucket

rclone would copy objects where it is asked to rename, answer ESPIPE to writes that leave a gap, and has seen a file
of somebody else, to which one appends, only some seconds later: it would replace it. The SDK promises ``EPERM``.

A file is finished when it is closed. rclone hears of each close, also of those of children that inherited it, be it
only for the moment before they became another program; it would finish the file, and refuse the next write of who
opened it. So only who opened it finishes it, as long as that process lives; else the last close of all does.

Each message is a header and what belongs to it, as ``linux/fuse.h`` has them, in one read, write or packet. What is
refused never gets to rclone, all else is rclone's to answer; nothing here waits for anything else.

Run as a script with ``python -S -E``; imports only the standard library. It outlives the worker. When rclone is gone it
ends, and so does the mount: who uses it hears ``ENOTCONN`` or the like. When this is gone, or the bucket is unmounted,
rclone reads an end, finishes what it has begun, and ends.
"""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 1 << 18
"""Bytes of a message, at most: rclone agrees with the kernel on 128 KiB of data."""

_REQUEST = struct.Struct("=IIQ")  # length, what is asked, its number; more follows
_ANSWER = struct.Struct("=IiQ")  # length, 0 or an error below it, the number
_WORD, _HANDLE = struct.Struct("=I"), struct.Struct("=Q")
_THREAD, _BODY = 32, 40  # where they stand in a request: who asks, and what belongs to it
_ENTRY = 128  # bytes about a file before the handle, in the answer to _CREATE

_SYMLINK, _RENAME, _LINK, _OPEN, _RELEASE, _SETXATTR, _FLUSH, _CREATE, _RENAME2 = 6, 12, 13, 14, 18, 21, 25, 35, 45
_REFUSED = {
    _RENAME: errno.EPERM, _RENAME2: errno.EPERM, _LINK: errno.EPERM, _SYMLINK: errno.EPERM,
    _SETXATTR: errno.ENOSYS,  # so the kernel asks no more, and programs that copy go on without
}  # fmt: skip
_GAP = _ANSWER.pack(_ANSWER.size, -errno.ESPIPE, 0)[:8]


def refusal(request: memoryview) -> bytes | None:
    """The answer to what a bucket cannot do; None for what it may be asked. Pure."""
    _, asked, number = _REQUEST.unpack_from(request)
    code = _REFUSED.get(asked, 0)
    if asked in (_OPEN, _CREATE):
        flags: int = _WORD.unpack_from(request, _BODY)[0]
        code = errno.EPERM if flags & os.O_APPEND and flags & os.O_ACCMODE else 0
    return _said(number, code) if code else None


def _said(number: int, code: int = 0) -> bytes:
    return _ANSWER.pack(_ANSWER.size, -code, number)


class Writers:
    """Which process has opened each file that is written. ``process_of``: that of a thread; 0 when there is none."""

    def __init__(self, process_of: Callable[[int], int]) -> None:
        self._process_of = process_of
        self._asked: dict[int, tuple[int, int]] = {}  # by number: where the answer has the handle, the process
        self._opened: dict[int, int] = {}  # by handle

    def hear(self, request: memoryview) -> bytes | None:
        """The answer to the close of a process that finishes nothing; None for all else."""
        _, asked, number = _REQUEST.unpack_from(request)
        if asked in (_OPEN, _CREATE) and _WORD.unpack_from(request, _BODY)[0] & os.O_ACCMODE:
            where = _ANSWER.size + (_ENTRY if asked == _CREATE else 0)
            self._asked[number] = where, self._process_of(_WORD.unpack_from(request, _THREAD)[0])
        elif asked == _RELEASE:
            self._opened.pop(_HANDLE.unpack_from(request, _BODY)[0], None)
        elif asked == _FLUSH:
            first = self._opened.get(_HANDLE.unpack_from(request, _BODY)[0], 0)
            now = self._process_of(_WORD.unpack_from(request, _THREAD)[0]) if first else 0
            if now not in (0, first) and self._process_of(first):
                return _said(number)
        return None

    def note(self, answer: memoryview) -> None:
        """Keep the handle that an answer gives."""
        _, code, number = _ANSWER.unpack_from(answer)
        where, process = self._asked.pop(number, (0, 0))
        if process and not code:
            self._opened[_HANDLE.unpack_from(answer, where)[0]] = process


def process_of(thread: int) -> int:
    """The process of a thread; 0 when it is gone, or of nobody that is seen from here."""
    try:
        with open(f"/proc/{thread}/status", "rb") as lines:  # noqa: PTH123 - pathlib is costly to import
            return next(int(line[5:]) for line in lines if line.startswith(b"Tgid:"))
    except (OSError, StopIteration):
        return 0


def translate(answer: memoryview) -> None:
    """Make of the refusal of a gap what the SDK promises, in place. Pure otherwise."""
    if answer[:8] == _GAP:
        struct.pack_into("=i", answer, 4, -errno.EPERM)


def ask(device: int, program: socket.socket, writers: Writers) -> None:
    """Pass on what the kernel asks, until the bucket is unmounted or the program is gone."""
    space = bytearray(LARGEST)
    whole = memoryview(space)
    try:
        while size := _listen(device, space):
            said = refusal(whole[:size]) or writers.hear(whole[:size])
            if said is None:
                program.send(whole[:size])
            else:
                _tell(device, said)
    except OSError:
        return  # the program is gone
    finally:
        with contextlib.suppress(OSError):
            program.shutdown(socket.SHUT_WR)


def _listen(device: int, space: bytearray) -> int:
    """The size of the next request; 0 when the bucket is unmounted."""
    while True:
        try:
            return os.readv(device, [space])
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.EAGAIN):  # who asked was interrupted
                return 0


def answer(device: int, program: socket.socket, writers: Writers) -> None:
    """Pass on what the program answers, until it is gone."""
    space = bytearray(LARGEST)
    whole = memoryview(space)
    with contextlib.suppress(ConnectionError):
        while size := program.recv_into(space):
            writers.note(whole[:size])
            translate(whole[:size])
            _tell(device, whole[:size])


def _tell(device: int, said: bytes | memoryview) -> None:
    with contextlib.suppress(OSError):  # nobody waits for it any more
        os.write(device, said)


def main(device: int, end: int) -> None:
    """Stand between the two descriptors. A byte to standard output says that the mount can be used."""
    writers = Writers(process_of)
    with socket.socket(fileno=end) as program:
        threading.Thread(target=ask, args=(device, program, writers), daemon=True).start()
        space = bytearray(LARGEST)
        size = program.recv_into(space)  # the first is that to the greeting, after which all others may be asked
        _tell(device, memoryview(space)[:size])
        if size:
            os.write(sys.stdout.fileno(), b"1")
            answer(device, program, writers)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
