"""What passes between the kernel and the program of a bucket, and what is answered on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading

import pytest

from windlass.worker.buckets import sieve

LOOKUP, SYMLINK, RENAME, LINK, OPEN, WRITE, SETXATTR, CREATE, RENAME2 = 1, 6, 12, 13, 14, 16, 21, 35, 45


def request(asked, body=b"", number=7):
    return struct.pack("=IIQQIIIHH", 40 + len(body), asked, number, 1, 0, 0, 0, 0, 0) + body


def answer(code=0, body=b"", number=7):
    return struct.pack("=IiQ", 16 + len(body), -code, number) + body


def opening(flags):
    return struct.pack("=II", flags, 0)


def refused(asked, body=b""):
    return sieve.refusal(memoryview(request(asked, body)))


@pytest.mark.parametrize("asked", [RENAME, RENAME2, LINK, SYMLINK])
def test_what_no_bucket_can_do_is_refused(asked):
    assert refused(asked, b"old\0new\0") == answer(errno.EPERM)


@pytest.mark.parametrize("asked", [OPEN, CREATE])
def test_nothing_is_appended_to_be_the_file_known_or_not(asked):
    assert refused(asked, opening(os.O_WRONLY | os.O_APPEND)) == answer(errno.EPERM)
    assert refused(asked, opening(os.O_RDWR | os.O_APPEND)) == answer(errno.EPERM)
    assert refused(asked, opening(os.O_RDONLY | os.O_APPEND)) is None, "who reads does not append"
    assert refused(asked, opening(os.O_WRONLY | os.O_TRUNC)) is None


def test_attributes_are_not_asked_for_again():
    assert refused(SETXATTR, b"x") == answer(errno.ENOSYS)


def test_all_else_is_the_programs_to_answer():
    assert refused(LOOKUP, b"name\0") is None
    assert refused(WRITE, struct.pack("=I", os.O_APPEND | os.O_WRONLY)) is None, "those are no flags"


@pytest.fixture
def between():
    """The ends of kernel and program, with what stands between them."""
    with contextlib.ExitStack() as held:
        kernel, device = (held.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ours, program = (held.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        kernel.settimeout(5)
        program.settimeout(5)
        ways = [threading.Thread(target=way, args=(device.fileno(), ours)) for way in (sieve.ask, sieve.answer)]
        for way in ways:
            way.start()
        yield kernel, program
        kernel.shutdown(socket.SHUT_WR)
        program.shutdown(socket.SHUT_WR)
        for way in ways:
            way.join(5)
            assert not way.is_alive()


def test_messages_arrive_whole_and_what_is_refused_never_gets_to_the_program(between):
    kernel, program = between
    kernel.send(request(RENAME, b"old\0new\0", number=1))
    assert kernel.recv(4096) == answer(errno.EPERM, number=1)
    large = request(WRITE, os.urandom(131072), number=2)
    kernel.send(large)
    assert program.recv(sieve.LARGEST) == large
    program.send(answer(errno.ESPIPE, number=2))
    assert kernel.recv(4096) == answer(errno.EPERM, number=2), "a gap"
    for said in (answer(errno.ENOENT), answer(body=struct.pack("=Ii", 16, -errno.ESPIPE)), answer(body=os.urandom(9))):
        program.send(said)
        assert kernel.recv(4096) == said


def test_the_end_of_the_mount_is_an_end_for_the_program_which_may_still_answer(between):
    kernel, program = between
    kernel.send(request(WRITE, number=3))
    assert program.recv(4096)
    kernel.shutdown(socket.SHUT_WR)
    assert program.recv(4096) == b""
    program.send(answer(number=3))
    assert kernel.recv(4096) == answer(number=3)
