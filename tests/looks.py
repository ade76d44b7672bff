"""Answers ``windlass ... --json`` for tests that look at a platform again and again until it is as it shall be.

Each look is a process of its own that runs the command as always, but it is forked from one that has imported all
commands: most of what a look costs is that, and a wait for a second would keep a processor busy for a second.

    python looks.py

reads lines of JSON, ``{"argv": [...], "environment": {...}, "seconds": 90}``, and answers each with one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any


class Looks:
    """Begun when it is first asked."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def ask(self, *argv: str, environment: dict[str, str], seconds: float = 90.0) -> tuple[int, str, str]:
        """The exit code, and what it wrote on stdout and stderr."""
        with self._one_at_a_time:
            process = self._running()
            assert process.stdin and process.stdout
            line = json.dumps({"argv": argv, "environment": environment, "seconds": seconds})
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            code, out, err = json.loads(process.stdout.readline())
        return code, out, err

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            # It is nothing that a platform leaves behind (``leftovers``).
            environment = {name: value for name, value in os.environ.items() if name != "WINDLASS_HOME"}
            line = [sys.executable, __file__]
            self._process = subprocess.Popen(
                line, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return self._process


def _answer(asked: Any) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _command(asked, out.fileno(), err.fileno())
        with _held(child) as held:
            if not select.select([held], [], [], asked["seconds"])[0]:
                os.kill(child, 9)
            status = os.waitpid(child, 0)[1]
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


@contextlib.contextmanager
def _held(child: int) -> Iterator[int]:
    held = os.pidfd_open(child)
    try:
        yield held
    finally:
        os.close(held)


def _command(asked: Any, out: int, err: int) -> None:
    """In the child; never returns."""
    code = 70
    try:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["windlass", *asked["argv"]]
        code = cli.execute(asked["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    from windlass.cli import __main__ as cli
    from windlass.client import bridge, faces, session  # noqa: F401 - commands import them late

    for entry in cli.COMMANDS.values():
        importlib.import_module(entry.module)
    for text in sys.stdin:
        print(json.dumps(_answer(json.loads(text))), flush=True)
