"""Moving a process of a container into a cell, by system calls that it makes while it is held by ``ptrace``.

What the move needs (entering namespaces) user code must never be able to do. So the right to it is in no capability
of the container: its filter lets ``setns`` pass only with 256 secret bits in the registers that ``setns`` does not
use. Only the keeper knows them, and puts them there while the process stands still and nobody of its family may look.
Whether others may look is a property of memory: a process that shares its own with another one, which could open it to
looks again meanwhile, is not moved. The kernel itself says whether it does (``ALONE``).
The process holds all capabilities of its cell for a few calls, but none of its own instructions runs meanwhile.

x86-64 only. All calls block, and must be made by the main thread.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterator, Sequence

from windlass.kit import files

MACHINE = "x86_64"
KEY_WORDS = 4  # of 64 bits: third to sixth argument of setns

_GETREGS, _SETREGS, _SYSCALL, _DETACH, _SEIZE, _INTERRUPT = 12, 13, 24, 17, 0x4206, 0x4207
_SYSGOOD, _EXITKILL = 0x1, 0x100000
_ALL = 0x40000000  # __WALL
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_WRITE, _RECVMSG, _CAPSET, _PRCTL, _UNSHARE, _SETNS, _CLOSE_RANGE = 1, 47, 126, 157, 272, 308, 436
_DONTWAIT, _CLOEXEC, _SCM_RIGHTS = 0x40, 0x40000000, 1
_SET_DUMPABLE = 4
_CAP_VERSION = 0x20080522
ALONE = 0x100 | 0x200 | 0x400
"""What ``unshare`` is asked for: memory of one's own, which it grants only to those who have it, and files and file
system. Templates may ask for that, and for nothing else."""
_CALL = b"\x0f\x05"
_PATIENCE = 5.0
_BELOW_STACK = 4096  # bytes below the stack pointer: nobody's, even of a leaf function
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

_NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _NAMES]


def possible() -> bool:
    """Whether this kind of processor is known here."""
    return platform.machine() == MACHINE


def move(
    pid: int, *, deliver: Callable[[], tuple[int, int]], socket: int, key: Sequence[int], capabilities: int
) -> None:  # fmt: skip
    """Put process ``pid`` into a cell and leave it ``capabilities`` (a mask) there. Its next child is in the cell's pid
    namespace. Raises ``OSError``; then the process is killed.

    ``deliver`` is called when the process is held: it sends it a message of one byte with the namespaces, that of users
    first, then the doors of its control groups, and returns how many there are of both. ``socket``: the process's own
    descriptor to receive it from.
    """
    with _held(pid) as held:
        # Nobody of the family may look at registers: with equal ids, only this stands between them. It holds as long
        # as nobody else has this memory, and nobody can come to have it while its only process stands still.
        held.be_alone()
        held.call(_PRCTL, _SET_DUMPABLE, 0)
        spaces, doors = deliver()
        received = held.receive(socket, spaces + doors)
        for namespace in received[:spaces]:
            held.call(_SETNS, namespace, 0, *key)
        itself = held.lend(b"0")
        for door in received[spaces:]:
            held.call(_WRITE, door, itself, 1)
        held.close(received)
        low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
        data = struct.pack("=II6I", _CAP_VERSION, 0, low, low, 0, high, high, 0)
        place = held.lend(data)
        held.call(_CAPSET, place, place + 8)
        if _capabilities(pid) != {capabilities}:
            raise OSError(0, "the fork kept capabilities that it must not have")
        held.call(_PRCTL, _SET_DUMPABLE, 1)


@contextlib.contextmanager
def _held(pid: int) -> Iterator[_Held]:
    """Stop a process at its next system call; on leaving it makes that call."""
    _ptrace(_SEIZE, pid, data=_SYSGOOD | _EXITKILL)
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        with _memory(pid) as memory:
            held = _Held(pid, memory)
            _ptrace(_INTERRUPT, pid)
            held.stop_at_call()
            yield held
            held.restore()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # half moved, it must not take a step
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _ptrace(_DETACH, pid)


@contextlib.contextmanager
def _memory(pid: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _too_late(number: int, frame: object) -> None:
    raise OSError(0, "the fork did not stop in time")


def _capabilities(pid: int) -> set[int]:
    """Its permitted and effective ones."""
    lines = files.read(f"/proc/{pid}/status").splitlines()
    return {int(line.split()[1], 16) for line in lines if line.startswith((b"CapPrm:", b"CapEff:"))}


class _Held:
    """A process in our hands."""

    def __init__(self, pid: int, memory: int) -> None:
        self._pid = pid
        self._memory = memory
        self._saved = _Registers()

    def stop_at_call(self) -> None:
        self._wait()
        self._next_stop()
        self._saved = self._read()
        if self._instruction() != _CALL:
            raise OSError(0, "the process makes system calls in a way not known here")
        # What it was about to do is done later; now it does nothing.
        harmless = self._read()
        harmless.orig_rax = 2**64 - 1
        self._write(harmless)
        self._next_stop()

    def call(self, number: int, *arguments: int) -> int:
        """Make it do one system call. Raises ``OSError`` of that call."""
        regs = _Registers.from_buffer_copy(self._saved)
        values = [value & (2**64 - 1) for value in (*arguments, *(0,) * (6 - len(arguments)))]
        regs.rip, regs.rax = self._saved.rip - len(_CALL), number
        regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9 = values
        self._write(regs)
        self._next_stop()
        if self._about() != (number, *values):
            # Others may share its memory, and have put other instructions there: nothing but our calls may be made.
            raise OSError(0, "the fork did not make the call that it was held for")
        self._next_stop()
        result = ctypes.c_longlong(self._read().rax).value
        if result < 0:
            raise OSError(-result, f"system call {number} of the fork: {os.strerror(-result)}")
        return result

    def be_alone(self) -> None:
        """Have its descriptors and folders for itself. Raises ``OSError`` where others have its memory."""
        try:
            self.call(_UNSHARE, ALONE)
        except OSError as exc:
            raise OSError(exc.errno or 0, f"the fork shares its memory with another process: {exc}") from None

    def _about(self) -> tuple[int, ...]:
        """The system call that it has come to."""
        regs = self._read()
        return regs.orig_rax, regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9

    def receive(self, socket: int, count: int) -> list[int]:
        """Let it take a message and return its numbers of the descriptors that came along."""
        space = 16 + (4 * count + 7 & ~7)
        place = int(self._saved.rsp) - _BELOW_STACK & ~0xF
        message, vector, control, byte = place, place + 64, place + 96, place + 80
        header = struct.pack("=QIIQQQQII", 0, 0, 0, vector, 1, control, space, 0, 0)
        self._poke(message, header)
        self._poke(vector, struct.pack("=QQ", byte, 1))
        self.call(_RECVMSG, socket, message, _DONTWAIT | _CLOEXEC)
        data = os.pread(self._memory, 16 + 4 * count, control)
        if len(data) != 16 + 4 * count or struct.unpack_from("=QII", data)[::2] != (len(data), _SCM_RIGHTS):
            raise OSError(0, "the namespaces did not reach the fork")
        return list(struct.unpack_from(f"={count}I", data, 16))

    def close(self, descriptors: Sequence[int]) -> None:
        """Let it close what it has received: each call costs four changes of process, so neighbours go at once."""
        first = last = descriptors[0]
        for descriptor in (*descriptors[1:], -1):
            if descriptor != last + 1:
                self.call(_CLOSE_RANGE, first, last, 0)
                first = descriptor
            last = descriptor

    def lend(self, data: bytes) -> int:
        """Put ``data`` where it may read it until it goes on. Returns the address."""
        place = int(self._saved.rsp) - _BELOW_STACK & ~0xF
        self._poke(place, data)
        return place

    def _poke(self, place: int, data: bytes) -> None:
        if os.pwrite(self._memory, data, place) != len(data):
            raise OSError(0, "the fork has no memory below its stack")

    def restore(self) -> None:
        regs = self._saved
        regs.rip, regs.rax = regs.rip - len(_CALL), regs.orig_rax
        regs.orig_rax = 2**64 - 1
        self._write(regs)

    def _instruction(self) -> bytes:
        return os.pread(self._memory, len(_CALL), self._saved.rip - len(_CALL))

    def _next_stop(self) -> None:
        """To the next entry of or return from a system call."""
        number = 0
        while True:
            _ptrace(_SYSCALL, self._pid, data=number)
            status = self._wait()
            if os.WSTOPSIG(status) == _SYSCALL_STOP:
                return
            event = status >> 16
            number = 0 if event else os.WSTOPSIG(status)  # a signal of its own arrives as it would have

    def _wait(self) -> int:
        _, status = os.waitpid(self._pid, _ALL)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError("the fork ended while it was moved")
        return status

    def _read(self) -> _Registers:
        regs = _Registers()
        _ptrace(_GETREGS, self._pid, data=ctypes.addressof(regs))
        return regs

    def _write(self, regs: _Registers) -> None:
        _ptrace(_SETREGS, self._pid, data=ctypes.addressof(regs))


def _ptrace(request: int, pid: int, *, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace {request}: {os.strerror(code)}")
