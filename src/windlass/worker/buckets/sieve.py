"""What stands between the kernel and the program that mounts a bucket: lets their messages through, and says EPERM to
what a bucket cannot do, whoever asks.

    containers ── kernel ── /dev/fuse ── this ── a pair of sockets ── rclone ── the bucket

rclone would copy objects where it is asked to rename, answer ESPIPE to writes that leave a gap, and has seen a file
of somebody else, to which one appends, only some seconds later: it would replace it. The SDK promises ``EPERM``.

Each message is a header and what belongs to it, as ``linux/fuse.h`` has them, in one read, write or packet. Nothing is
kept of them, so this neither knows nor waits for anything: what is refused never gets to rclone, all else is rclone's.

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

LARGEST = 1 << 18
"""Bytes of a message, at most: rclone agrees with the kernel on 128 KiB of data."""

_REQUEST = struct.Struct("=IIQ")  # length, what is asked, its number; more follows
_ANSWER = struct.Struct("=IiQ")  # length, 0 or an error below it, the number
_FLAGS = struct.Struct("=I")
_BODY = 40  # where it begins in a request

_SYMLINK, _RENAME, _LINK, _OPEN, _SETXATTR, _CREATE, _RENAME2 = 6, 12, 13, 14, 21, 35, 45
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
        flags: int = _FLAGS.unpack_from(request, _BODY)[0]
        code = errno.EPERM if flags & os.O_APPEND and flags & os.O_ACCMODE else 0
    return _ANSWER.pack(_ANSWER.size, -code, number) if code else None


def translate(answer: memoryview) -> None:
    """Make of the refusal of a gap what the SDK promises, in place. Pure otherwise."""
    if answer[:8] == _GAP:
        struct.pack_into("=i", answer, 4, -errno.EPERM)


def ask(device: int, program: socket.socket) -> None:
    """Pass on what the kernel asks, until the bucket is unmounted or the program is gone."""
    space = bytearray(LARGEST)
    whole = memoryview(space)
    try:
        while size := _listen(device, space):
            if (refused := refusal(whole[:size])) is None:
                program.send(whole[:size])
            else:
                _tell(device, refused)
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


def answer(device: int, program: socket.socket) -> None:
    """Pass on what the program answers, until it is gone."""
    space = bytearray(LARGEST)
    whole = memoryview(space)
    with contextlib.suppress(ConnectionError):
        while size := program.recv_into(space):
            translate(whole[:size])
            _tell(device, whole[:size])


def _tell(device: int, said: bytes | memoryview) -> None:
    with contextlib.suppress(OSError):  # nobody waits for it any more
        os.write(device, said)


def main(device: int, end: int) -> None:
    """Stand between the two descriptors. A byte to standard output says that the mount can be used."""
    with socket.socket(fileno=end) as program:
        threading.Thread(target=ask, args=(device, program), daemon=True).start()
        space = bytearray(LARGEST)
        size = program.recv_into(space)  # the first is that to the greeting, after which all others may be asked
        _tell(device, memoryview(space)[:size])
        if size:
            os.write(sys.stdout.fileno(), b"1")
            answer(device, program)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
