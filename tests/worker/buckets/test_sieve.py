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

LOOKUP, SYMLINK, RENAME, LINK, OPEN, WRITE, RELEASE, SETXATTR, FLUSH = 1, 6, 12, 13, 14, 16, 18, 21, 25
CREATE, RENAME2 = 35, 45


def request(asked, body=b"", number=7, thread=0):
    return struct.pack("=IIQQIIIHH", 40 + len(body), asked, number, 1, 0, 0, thread, 0, 0) + body


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


class Processes(dict):
    """By thread; they open and close files."""

    def __init__(self):
        super().__init__({100: 100, 101: 100, 200: 200})
        self.writers = sieve.Writers(lambda thread: self.get(thread, 0))

    def open(self, asked, thread, flags=os.O_WRONLY, code=0, handle=5):
        assert self.writers.hear(memoryview(request(asked, opening(flags), 1, thread))) is None
        entry = bytes(128) if asked == CREATE else b""
        self.writers.note(memoryview(answer(code, b"" if code else entry + struct.pack("=QII", handle, 0, 0), 1)))

    def close(self, thread, handle=5):
        """Whether the program hears of it."""
        said = self.writers.hear(memoryview(request(FLUSH, struct.pack("=QQ", handle, 0), 9, thread)))
        assert said in (None, answer(number=9))
        return said is None


@pytest.mark.parametrize("asked", [OPEN, CREATE])
def test_who_opened_a_file_finishes_it_and_no_child_of_it_does(asked):
    processes = Processes()
    processes.open(asked, thread=100)
    assert not processes.close(thread=200), "a child that inherited it"
    assert processes.close(thread=101), "another thread of the process"
    del processes[100]
    assert processes.close(thread=200), "who opened it has ended"


def test_where_it_is_not_known_who_opened_a_file_each_close_counts():
    processes = Processes()
    assert processes.close(thread=200)
    processes.open(OPEN, thread=100, flags=os.O_RDONLY)
    assert processes.close(thread=200), "it is only read"
    processes.open(OPEN, thread=100, code=errno.EPERM)
    assert processes.close(thread=200), "it was not opened"
    processes.open(OPEN, thread=300)
    assert processes.close(thread=200), "by somebody who is gone"
    processes.open(OPEN, thread=100)
    assert processes.close(thread=300), "who closes it is gone"
    processes.writers.hear(memoryview(request(RELEASE, struct.pack("=QQQ", 5, 0, 0))))
    assert processes.close(thread=200), "the handle may be another file's next"


def test_threads_are_known_by_their_process():
    assert sieve.process_of(threading.get_native_id()) == os.getpid()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(sieve.process_of(threading.get_native_id())))
    thread.start()
    thread.join()
    assert seen == [os.getpid()] and sieve.process_of(0) == 0


@pytest.fixture
def between():
    """The ends of kernel and program, with what stands between them."""
    with contextlib.ExitStack() as held:
        kernel, device = (held.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ours, program = (held.enter_context(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        kernel.settimeout(5)
        program.settimeout(5)
        what = device.fileno(), ours, sieve.Writers(sieve.process_of)
        ways = [threading.Thread(target=way, args=what) for way in (sieve.ask, sieve.answer)]
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
