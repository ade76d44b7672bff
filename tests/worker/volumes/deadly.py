"""The server, or a worker that has volumes only, which dies by kill -9 before its nth step that matters to volumes.

    python deadly.py HOME

For each line, "server" or "worker", it begins a process that is that program, and says its number. What a program
imports is imported once, before: each of its many lives begins with nothing but what is on the disk.

The number of the step is in HOME/kill-<program>; steps are counted from the moment on that the file is there. It is
gone when it was used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from windlass import paths
from windlass.kit import tasks
from windlass.server import __main__ as program
from windlass.server.ingress import listener  # noqa: F401 - the server imports it late
from windlass.server.store import database
from windlass.wire import peer
from windlass.worker import link, overlay
from windlass.worker.volumes import answers, service


def arm(order: Path, *steps: tuple[Any, str]) -> None:
    """Make each of ``steps`` (an owner and the name of a function) one that may be the last."""
    done, unlink = [0], os.unlink

    def count() -> None:
        try:
            nth = int(order.read_text())
        except (FileNotFoundError, ValueError):
            return
        done[0] += 1
        if done[0] >= nth:
            unlink(order)
            os.kill(os.getpid(), 9)

    for owner, name in steps:
        setattr(owner, name, _deadly(getattr(owner, name), count))


def _deadly(function: Any, count: Any) -> Any:
    def step(*arguments: Any, **options: Any) -> Any:
        said = arguments[1] if len(arguments) > 1 else ""
        if not isinstance(said, str) or _matters(said):
            count()
        return function(*arguments, **options)

    return step


def _matters(statement: str) -> bool:
    """Of the server's statements only those that write rows of volumes, and what follows them."""
    word = statement.split(" ", 1)[0]
    if word in ("INSERT", "UPDATE", "DELETE"):
        _matters.open = "volume" in statement  # type: ignore[attr-defined]
        return bool(_matters.open)  # type: ignore[attr-defined]
    if word == "COMMIT":
        was, _matters.open = getattr(_matters, "open", False), False  # type: ignore[attr-defined]
        return was
    return word not in ("SELECT", "BEGIN", "PRAGMA", "WITH", "ROLLBACK", "REPLACE")


def server(home: Path) -> None:
    arm(
        home / "kill-server",
        (database.Database, "run"), (Path, "replace"), (Path, "unlink"), (os, "fsync"), (peer.Incoming, "reply"),
        (peer.Peer, "request"), (os, "copy_file_range"), (peer.Incoming, "item"),
    )  # fmt: skip
    sys.argv = ["server", "--home", str(home)]
    sys.exit(program.main())


def worker(home: Path) -> None:
    async def run() -> None:
        volumes = service.Volumes(home)
        volumes.layers.sweep()
        async with tasks.Tasks() as owner:
            served = answers.Answers(volumes, owner)

            async def greet(to: peer.Peer) -> None:
                hello = {"node": "n", "cpus": 1.0, "memory": 2**30, "containers": []}
                await to.request("worker.hello", hello)
                (home / "worker-ready").touch()

            line = link.Link(paths.server_socket(home), greet=greet, serve=lambda asked: (served.serve(asked), None)[1])
            volumes.connect(line.call, lambda container_id, why: None, lambda container_id, text: None)
            await line.run()

    arm(
        home / "kill-worker",
        (os, "rename"), (os, "link"), (os, "mkdir"), (os, "mknod"), (os, "unlink"), (os, "open"), (Path, "rename"),
        (Path, "mkdir"), (Path, "write_text"), (Path, "write_bytes"), (overlay, "mount"), (overlay, "unmount"),
        (peer.Incoming, "reply"),
    )  # fmt: skip
    asyncio.run(run())


def main(home: Path) -> None:
    programs = {"server": server, "worker": worker}
    while name := sys.stdin.readline().strip():
        _bury()  # the last one not before the next is asked for: until then its number is nobody else's
        child = os.fork()
        if child == 0:
            try:
                programs[name](home)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(0)
        print(child, flush=True)


def _bury() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
