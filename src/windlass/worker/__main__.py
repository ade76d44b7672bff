"""``python -m windlass.worker --home DIR``: the worker of one machine.

Enters the node namespace by itself (starting again through ``nsenter``), unless there is to be no isolation. What costs
time to import is imported there, and not twice. The node's network it enters last, leaving one thread in the machine's
(``outside.py``).
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from windlass import exception, paths
from windlass.kit import clock, rotation
from windlass.worker import node, outside, programs

if TYPE_CHECKING:
    from windlass.wire.messages import workers
    from windlass.worker import gpus
    from windlass.worker.runtime import base

_INSIDE = "--inside"
_log = logging.getLogger("windlass.worker")


def main() -> None:
    """Run until SIGTERM or SIGINT. Containers go on; the next worker finds them."""
    parser = argparse.ArgumentParser(prog="python -m windlass.worker")
    parser.add_argument("--home", type=Path, default=paths.home())
    parser.add_argument("--runtime", default=os.environ.get("WINDLASS_RUNTIME", ""), help="process, or an OCI runtime")
    parser.add_argument(_INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    home: Path = options.home.absolute()
    programs.look_everywhere()
    # Secrets pass through its memory, and that of containers, which inherit the limit and may raise it again.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # A command has some descriptors here; a container's limits are in its specification.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        if options.runtime != "process" and not options.inside:
            _enter(home, options.runtime)
        outer = outside.leave_behind(home) if options.inside else outside.Outside()
        rotation.log_to(home / "log" / "worker.log")
        with _only_one(home), contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_work(home, options.runtime, outer))
    except exception.Error as exc:
        sys.exit(f"the worker cannot run: {exc}{'. ' + exc.hint if exc.hint else ''}")


def _enter(home: Path, runtime: str) -> None:
    """Become the same program inside the node namespace."""
    again = [sys.executable, "-m", "windlass.worker", "--home", str(home), "--runtime", runtime, _INSIDE]
    line = node.enter_argv(node.up(home), again, network=False)
    try:
        os.execvp(line[0], line)
    except FileNotFoundError:
        raise programs.missing(line[0]) from None


async def _work(home: Path, choice: str, outer: outside.Outside) -> None:
    from windlass.worker import agent, compose

    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, this.cancel)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    chosen = (
        compose.plain(home) if choice == "process"
        else compose.isolated(home, wanted=choice, memory=memory, outer=outer)
    )  # fmt: skip
    async with chosen as runtime:
        _log.info("runtime %s", runtime.name)
        facts = _facts(runtime, memory)
        async with agent.Agent(home, runtime=runtime, facts=facts, time=clock.SystemClock()) as mind:
            await mind.run()


def _facts(runtime: base.Runtime, memory: int) -> workers.WorkerHello:
    cpus = float(len(os.sched_getaffinity(0)))
    return {
        "node": platform.node(), "cpus": cpus, "memory": memory, "runtime": runtime.name, "gaps": list(runtime.gaps),
        "uplink": "none" if runtime.network is None else runtime.network.kind,
        "gpus": [{"gpu_id": one.id, "kind": one.kind, "model": one.model} for one in _lendable()],
    }  # fmt: skip


def _lendable() -> list[gpus.Device]:
    from windlass.worker import gpus

    found = gpus.here()
    if found.devices and (problem := found.problem()):
        _log.warning("GPUs are not lent: %s", problem)
        return []
    return list(found.devices.values())


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the lock of this home's worker; two of them would fight over the containers."""
    folder = paths.run(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "worker.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another worker already serves {home}")
        yield


if __name__ == "__main__":
    main()
