"""Programs of the host in a namespace mapped like a container's: what they write belongs to a container's root.

The node keeps one such user namespace ready (``pause.py`` makes it), with inside 0 being the node's 1. A program run
here also gets its own mount and pid namespace: it may mount what it likes, and cancelling ends all that it started.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from windlass import exception
from windlass.kit import tasks

_LINE_LIMIT = 1024 * 1024


async def run(
    argv: Sequence[str],
    *,
    namespace: Path,
    env: Mapping[str, str],
    log: Callable[[str], None],
    timeout: float | None = None,
    mount_ns: bool = True,
) -> int:
    """Run ``argv`` as root of a container's user namespace, in the node's network, and return its exit code.

    Args:
        namespace: ``Node.userns`` of the node.
        log: called with each line (with its end) of output and error output.
        timeout: seconds; then all is killed and ``exception.TimeoutError`` raised.
        mount_ns: with its own mounts, /proc and processes; otherwise only another user (quicker).
    """
    return await supervise(command(argv, namespace=namespace, mount_ns=mount_ns), env=env, log=log, timeout=timeout)


def command(argv: Sequence[str], *, namespace: Path, mount_ns: bool = True) -> list[str]:
    """The command line that ``run`` starts."""
    line = ["nsenter", f"--user={namespace}", "--"]
    if mount_ns:
        line += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    return [*line, *argv]


async def remove_tree(path: Path, *, descriptors: Sequence[int] = ()) -> None:
    """Delete a folder that may hold files of containers. Fine when it is not there.

    For the inside of the node namespace, whose root may do so with all ids that are mapped there.
    ``descriptors``: those that the path leads through (``/proc/self/fd/…``).
    """
    process = await asyncio.create_subprocess_exec(
        "rm", "-rf", "--one-file-system", "--", os.fsencode(path),
        stderr=asyncio.subprocess.PIPE, pass_fds=descriptors,
    )  # fmt: skip
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(errors.decode(errors="replace").strip())


async def supervise(
    line: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Callable[[str], None],
    timeout: float | None,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> int:
    """Run a program of the worker to its end. Cancelling kills it and what it started."""
    process = await asyncio.create_subprocess_exec(
        *line,
        env=dict(env),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=_LINE_LIMIT,
    )
    assert process.stdout is not None
    async with tasks.Tasks() as background:
        reading = background.start(copy_lines(process.stdout, log), f"output of {line[0]}")
        try:
            await asyncio.wait_for(process.wait(), timeout)
            # What the program left in the background may hold the pipe; its own output is there by now.
            await asyncio.wait({reading}, timeout=2)
        except asyncio.TimeoutError:
            raise exception.TimeoutError(f"did not end within {timeout:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    code = process.returncode or 0
    return code if code >= 0 else 128 - code


async def copy_lines(stream: asyncio.StreamReader, log: Callable[[str], None]) -> None:
    """Pass ``stream`` on line by line until it ends."""
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                log(end.partial.decode(errors="replace"))
            return
        except asyncio.LimitOverrunError as over:
            line = await stream.readexactly(over.consumed)
        log(line.decode(errors="replace"))
