"""Loads a program anew, each time in a fresh process, fast: for `windlass serve`.

    serve ── "load" ──► zygote ── fork ──► import the program ─► what it is ─► "publish" ─► the new version

The zygote has everything of ours imported and never anything of the user's, and no thread, so that it may be forked.
A fork costs milliseconds where a new interpreter would cost a third of a second. Messages are lines of JSON.
"""
from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from windlass import exception
from windlass.cli import failure, reference

_NEEDED = (
    "cloudpickle", "subprocess", "windlass.app", "windlass.function", "windlass.image", "windlass.secret",
    "windlass.cli.render", "windlass.client.bridge", "windlass.client.blobs", "windlass.client.create",
    "windlass.client.deploy", "windlass.client.imaging", "windlass.client.mount", "windlass.client.watch",
    "windlass.compat",
)  # fmt: skip


class Plan(NamedTuple):
    """What is loaded, and for which environment."""

    reference: reference.Reference
    environment: str
    timestamps: bool


class Loader:
    """The zygote, as whoever asks it sees it. Must be entered before this process has threads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __enter__(self) -> Loader:
        _prepare()
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _live(theirs, self._plan)
        theirs.close()
        self._channel = _Channel(ours)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._channel.close()
        os.kill(self._pid, signal.SIGTERM)  # user code that is being imported may take its time
        os.waitpid(self._pid, 0)

    def load(self, deadline: float | None = None) -> dict[str, Any] | None:
        """Import the program; what its app is, or None where that failed and was said.

        Raises ``TimeoutError`` when the deadline (of the monotonic clock) has passed.
        """
        return self._ask({"do": "load"}, deadline)

    def publish(self, app_id: str, deadline: float | None = None) -> dict[str, Any] | None:
        """Let what was loaded be what the app ``app_id`` consists of; None where that failed and was said.

        Raises ``TimeoutError`` when the deadline (of the monotonic clock) has passed.
        """
        return self._ask({"do": "publish", "app_id": app_id}, deadline)

    def _ask(self, message: dict[str, Any], deadline: float | None) -> dict[str, Any] | None:
        self._channel.send(message)
        return self._channel.receive(deadline)


class _Channel:
    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._file = end.makefile("rb")

    def send(self, message: dict[str, Any] | None) -> None:
        try:
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the other end has gone, and reading says so

    def receive(self, deadline: float | None = None) -> dict[str, Any] | None:
        """The next message; None at the end, or where the other one has nothing to say."""
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([self._end], [], [], patience)[0]:
            raise TimeoutError
        line = self._file.readline()
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    def close(self) -> None:
        self._file.close()
        self._end.close()


def _prepare() -> None:
    import importlib

    for name in _NEEDED:
        importlib.import_module(name)


def _live(end: socket.socket, plan: Plan) -> None:
    """The zygote. Ctrl-C is for whoever asks; when that one ends, this ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: list[int] = []

    def end_all(number: int, frame: object) -> None:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end_all)
    channel = _Channel(end)
    while (message := channel.receive()) is not None:
        if message["do"] != "load":
            channel.send(None)  # what was loaded has failed already
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_load(channel, plan))
        running.append(pid)
        _, status = os.waitpid(pid, 0)
        running.clear()
        if os.waitstatus_to_exitcode(status) != 0:
            channel.send(None)
    os._exit(0)


def _load(channel: _Channel, plan: Plan) -> int:
    """One load, in a process of its own. The exit code: 0 when the last answer was given."""
    # Python takes cached byte code for current when time (in seconds) and size of the source are the same.
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        return _loaded(channel, plan)
    except Exception as exc:  # noqa: BLE001 - process exit
        failure.show(exc)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _loaded(channel: _Channel, plan: Plan) -> int:
    from windlass import compat
    from windlass.cli import render
    from windlass.client import bridge, deploy, output, watch

    compat.install()
    with render.open_output(timestamps=plan.timestamps) as shown, output.using(shown):
        with reference.load(plan.reference) as module:
            app = reference.choose_app(module, plan.reference)
            watched = watch.of(app, _root(module, plan.reference))
            channel.send({"name": app.name, "description": app.description, "watched": watched._asdict()})
            message = channel.receive()
            if message is None or message["do"] != "publish":
                return 0  # whoever asked has gone
            reply = bridge.run(deploy.renew(app, message["app_id"], plan.environment))
            channel.send({"version": reply["version"], "skipped": reply["skipped"]})
            return 0


def _root(module: Any, wanted: reference.Reference) -> Path:
    """Below it, what is imported is the user's own."""
    if wanted.is_module or not module.__file__:
        return Path.cwd()
    return Path(module.__file__).resolve().parent


def check() -> None:
    """Raises ``UnimplementedError`` where processes cannot be forked."""
    if not hasattr(os, "fork"):
        raise exception.UnimplementedError("`windlass serve` does not work on this system")
