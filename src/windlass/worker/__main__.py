"""``python -m windlass.worker --home DIR``: the worker of one machine.

Enters the node namespace by itself (started again through ``nsenter``), unless there is to be no isolation.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from windlass import paths
from windlass.kit import clock
from windlass.wire.messages import workers
from windlass.worker import agent
from windlass.worker.runtime import base, process

_log = logging.getLogger("windlass.worker")


def main() -> None:
    """Run until SIGTERM or SIGINT. Containers go on; the next worker finds them."""
    parser = argparse.ArgumentParser(prog="python -m windlass.worker")
    parser.add_argument("--home", type=Path, default=paths.home())
    parser.add_argument("--runtime", default=os.environ.get("WINDLASS_RUNTIME", ""), help="process, or an OCI runtime")
    options = parser.parse_args()
    root: Path = options.home.absolute()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with _only_one(root):
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_work(root, options.runtime))


async def _work(root: Path, choice: str) -> None:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, this.cancel)
    async with _runtime(root, choice) as runtime:
        _log.info("runtime %s", runtime.name)
        async with agent.Agent(root, runtime=runtime, facts=_facts(runtime), time=clock.SystemClock()) as mind:
            await mind.run()


@contextlib.asynccontextmanager
async def _runtime(root: Path, choice: str) -> AsyncIterator[base.Runtime]:
    if choice != "process":
        raise SystemExit("only WINDLASS_RUNTIME=process works yet")
    async with process.Processes(root) as runtime:
        yield runtime


def _facts(runtime: base.Runtime) -> workers.WorkerHello:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpus = float(len(os.sched_getaffinity(0)))
    return {
        "node": platform.node(), "cpus": cpus, "memory": memory, "runtime": runtime.name, "gaps": list(runtime.gaps),
    }  # fmt: skip


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Hold the lock of this home's worker; two of them would fight over the containers."""
    folder = paths.run(root)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "worker.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another worker already serves {root}")
        (folder / "worker.pid").write_text(f"{os.getpid()}\n")
        yield


if __name__ == "__main__":
    main()
