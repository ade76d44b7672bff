"""``python -m windlass.server --home DIR``: one server per state folder, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import fcntl
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop

from windlass import exception, paths
from windlass.kit import rotation
from windlass.server import compose, settings

_PR_SET_DUMPABLE = 4
_log = logging.getLogger("windlass.server")


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the lock of the state folder for life; it goes with the process, however that ends."""
    folder = paths.run(home)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise exception.ConflictError(
                f"another server runs on {home}",
                hint="`windlass server status` shows it; `windlass server restart` replaces it.",
            ) from None
        pid = folder / "server.pid"
        pid.write_text(f"{os.getpid()}\n")
        try:
            yield
        finally:
            pid.unlink(missing_ok=True)


def _refuse_half_restored(home: Path) -> None:
    if paths.unfinished_restore(home).exists():
        raise exception.ConflictError(
            f"a backup was being restored into {home} and that is not finished",
            hint="Run `windlass server restore` without a backup: it finishes it.",
        )


def _keep_to_itself() -> None:
    """No core dump of this process: secrets pass through its memory."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    with contextlib.suppress(OSError, AttributeError):  # a dump may also go to a program, whatever the limit
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _settle_memory() -> None:
    """What was imported and loaded stays: looking at all of it would stop every request for tens of milliseconds."""
    gc.collect()
    gc.freeze()


async def _run(chosen: settings.Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with compose.server(chosen):
        _settle_memory()
        _log.info("listening at %s", paths.server_socket(chosen.home))
        await stop.wait()
        _log.info("stopping")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m windlass.server", description=__doc__)
    parser.add_argument("--home", type=Path, default=None, help="the state folder")
    home = (parser.parse_args().home or paths.home()).absolute()
    _keep_to_itself()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        rotation.log_to(home / "log" / "server.log", os.environ.get("WINDLASS_LOG_LEVEL", "INFO"))
        with _only_one(home):
            _refuse_half_restored(home)
            uvloop.run(_run(settings.from_environment(home)))
    except exception.Error as exc:
        return _report(str(exc), exc.hint)
    except OSError as exc:
        return _report(f"the server cannot use {home}: {exc}", "")
    return 0


def _report(message: str, hint: str) -> int:
    _log.error("%s %s", message, hint)
    print(f"windlass server: {message}", file=sys.stderr)
    if hint:
        print(hint, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
