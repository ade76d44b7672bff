"""Loads a program anew, each time in a fresh process, fast: for `windlass serve`.

    serve ── "load" ──► zygote ── fork ──► import the program ─► what it is ─► "publish" ─► the new version

The zygote has everything of ours imported and never anything of the user's, and no thread, so that it may be forked.
A fork costs milliseconds where a new interpreter would cost a third of a second. Messages are lines of JSON; each has
the number of the load that it is about, because one that fails may say so when nobody asks any more.
"""
from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

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
        self._number = 0

    def __enter__(self) -> Loader:
        _prepare()
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _end_with(functools.partial(_live, theirs, self._plan))
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
        self._number += 1
        return self._ask({"do": "load", "number": self._number}, deadline)

    def publish(self, app_id: str, deadline: float | None = None) -> dict[str, Any] | None:
        """Let what was loaded be what the app ``app_id`` consists of; None where that failed and was said.

        Raises ``TimeoutError`` when the deadline (of the monotonic clock) has passed.
        """
        return self._ask({"do": "publish", "number": self._number, "app_id": app_id}, deadline)

    def _ask(self, message: dict[str, Any], deadline: float | None) -> dict[str, Any] | None:
        self._channel.send(message)
        while (answer := self._channel.receive(deadline)) is not None:
            if answer["number"] == self._number:
                found: dict[str, Any] | None = answer["body"]
                return found
        return None


class _Channel:
    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._file = end.makefile("rb")

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the other end has gone, and reading says so

    def receive(self, deadline: float | None = None) -> dict[str, Any] | None:
        """The next message; None at the end."""
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


def _end_with(main: Callable[[], int]) -> NoReturn:
    """The whole of a forked process: whatever happens, it does not return into the code of its parent."""
    code = 1
    try:
        code = main()
    finally:
        os._exit(code)


def _live(end: socket.socket, plan: Plan) -> int:
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
            continue  # what was loaded has failed in the meantime, which was said
        pid = os.fork()
        if pid == 0:
            _end_with(functools.partial(_load, channel, plan, message["number"]))
        running.append(pid)
        _, status = os.waitpid(pid, 0)
        running.clear()
        if os.waitstatus_to_exitcode(status) != 0:
            channel.send({"number": message["number"], "body": None})
    return 0


def _load(channel: _Channel, plan: Plan, number: int) -> int:
    """One load, in a process of its own. The exit code: 0 when the last answer was given."""
    # Python takes cached byte code for current when time (in seconds) and size of the source are the same.
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        channel.send({"number": number, "body": _loaded(channel, plan, number)})
        return 0
    except SystemExit as exc:
        sys.stderr.write(f"The program ended itself while it was loaded: sys.exit({exc.code!r}).\n")
        return 1
    except Exception as exc:  # noqa: BLE001 - process exit
        failure.show(exc)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _loaded(channel: _Channel, plan: Plan, number: int) -> dict[str, Any] | None:
    from windlass import compat
    from windlass.cli import render
    from windlass.client import bridge, deploy, output, watch

    compat.install()
    compat.hand_down()
    with render.open_output(timestamps=plan.timestamps) as shown, output.using(shown):
        with reference.load(plan.reference) as module:
            app = reference.choose_app(module, plan.reference)
            watched = watch.of(app, _root(module, plan.reference))
            about = {"name": app.name, "description": app.description, "watched": watched._asdict()}
            channel.send({"number": number, "body": about})
            message = channel.receive()
            if message is None or message["do"] != "publish":
                return None  # whoever asked has gone
            reply = bridge.run(deploy.renew(app, message["app_id"], plan.environment))
            return {"version": reply["version"], "skipped": reply["skipped"]}


def _root(module: Any, wanted: reference.Reference) -> Path:
    """Below it, what is imported is the user's own."""
    if wanted.is_module or not module.__file__:
        return Path.cwd()
    return Path(module.__file__).resolve().parent


def check() -> None:
    """Raises ``UnimplementedError`` where processes cannot be forked."""
    if not hasattr(os, "fork"):
        raise exception.UnimplementedError("`windlass serve` does not work on this system")
