"""Programs of the worker in the machine's own network, for what only the machine reaches: registries on its loopback,
a company's proxy there.

The worker works in the node's network, but a network belongs to a thread, and what a thread starts inherits it. So the
worker enters the node without its network, leaves one thread behind there, and only then goes on itself:

    worker starts in the machine's network
     ├─ the outside thread      stays; starts programs
     └─ the main thread         enters the node's network; starts everything else
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from pathlib import Path

from windlass import exception
from windlass.kit import descriptors, tasks
from windlass.worker import linux, node, programs, userns

_NETWORK = Path("/proc/1/ns/net")  # process 1 of the node is its pause process
INPUT = "/proc/self/fd/0"
_DRAIN = 2.0  # seconds that what a program left behind may hold its output
_LINE_LIMIT = 1024 * 1024
_UNCOVER = 'umount /etc/resolv.conf 2>/dev/null; exec "$@"'


class Outside:
    """Starts programs in the network in which it was made. They end with the worker."""

    def __init__(self, *, covered: bool = False) -> None:
        """``covered``: the node shows programs a resolv.conf that leads nowhere from the machine's network."""
        self._thread = futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="outside")
        self._thread.submit(threading.get_ident).result()  # it starts with its first work, and must do so now
        self._prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
        if covered:
            self._prefix = ["unshare", "--mount", "--", "sh", "-c", _UNCOVER, "sh", *self._prefix]

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Callable[[str], None],
        timeout: float | None = None,
        data: bytes | None = None,
    ) -> int:
        """Run ``argv`` and return its exit code (128 + n after signal n). Cancelling kills it and what it started.

        Args:
            env: its environment; PATH may be left out.
            log: called with each line (with its end) of output and error output.
            timeout: seconds; then it is killed and ``exception.TimeoutError`` raised.
            data: what it finds as its standard input, which is also the file ``INPUT``.

        Raises:
            ExecutionError: the program is not installed.
        """
        with _in_memory(data) as stdin:
            process = self._start(argv, env, stdin)
        try:
            return await _follow(process, log, timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def socket(self, family: int) -> socket.socket:
        """A TCP socket in that network: a socket belongs to the network of the thread that makes it."""
        return self._thread.submit(socket.socket, family).result()

    def _start(self, argv: Sequence[str], env: Mapping[str, str], stdin: int) -> subprocess.Popen[bytes]:
        """Start it, as quick as a fork in this thread would be; the loop waits so that no program is ever lost."""
        if not any(Path(folder, argv[0]).exists() for folder in ("", *programs.FOLDERS)):
            raise programs.missing(argv[0])
        starting = self._thread.submit(
            subprocess.Popen, [*self._prefix, *argv], env={"PATH": programs.PATH, **env}, cwd="/", stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        return starting.result()


@contextlib.contextmanager
def _in_memory(data: bytes | None) -> Iterator[int]:
    """A descriptor of a file that has no name and holds ``data``."""
    if data is None:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("windlass"), "wb") as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


async def _follow(process: subprocess.Popen[bytes], log: Callable[[str], None], timeout: float | None) -> int:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=_LINE_LIMIT)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), process.stdout)
    try:
        async with tasks.Tasks() as background:
            reading = background.start(userns.copy_lines(stream, log), "output of a program outside")
            try:
                await asyncio.wait_for(_ended(process.pid), timeout)
            except asyncio.TimeoutError:
                raise exception.TimeoutError(f"did not end within {timeout:g} s") from None
            await asyncio.wait({reading}, timeout=_DRAIN)
    finally:
        transport.close()
    code = process.wait()
    return code if code >= 0 else 128 - code


async def _ended(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        await descriptors.ready(descriptor)
    finally:
        os.close(descriptor)


def leave_behind(home: Path) -> Outside:
    """Make the outside thread, then take the calling thread into the node's network. For the worker's first moment:
    threads that exist already would stay outside.
    """
    place = node.load(home)
    if place is None or place.uplink.kind == "none":
        return Outside()
    outside = Outside(covered=(place.view / "resolv.conf").exists())
    if Path("/proc/self").readlink().name != str(os.getpid()):
        raise exception.ExecutionError("/proc is not the node's own: the worker is not inside")
    descriptor = os.open(_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, linux.NEWNET)
    finally:
        os.close(descriptor)
    return outside
