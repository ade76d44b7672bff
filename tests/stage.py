"""The platform under test: started and stopped by its own commands, looked at from outside as a user would.

Nothing here reaches into the programs: processes are found through `/proc`, state through `windlass ... --json`
(``looks``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

import leftovers
import looks
import windlass

TESTS = Path(__file__).parent
CHECKOUT = TESTS.parent
STOP_GRACE = 10
PATIENCE = {
    "WINDLASS_SERVER_APP_SILENCE": "25",  # more than a heartbeat of the client
    "WINDLASS_SERVER_STOP_GRACE": str(STOP_GRACE),
    "WINDLASS_SERVER_CANCEL_GRACE": "6",
    "WINDLASS_SERVER_TIMEOUT_SLACK": "5",
}
"""The platform under test loses its patience sooner than by default, so that tests of what happens then are short."""
COMMAND = [sys.executable, "-m", "windlass.cli"]
T = TypeVar("T")
_looks = looks.Looks()


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def text(self) -> str:
        return self.out + self.err


def until(condition: Callable[[], T], seconds: float = 20.0, what: str = "") -> T:
    """The first true value of ``condition``; fails when none came in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}; last seen: {value!r}")
        time.sleep(0.05)


class Stage:
    """One platform in one home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {**os.environ, "WINDLASS_HOME": str(home), **environment}

    # -- commands -----------------------------------------------------------------------------------------

    def cli(
        self,
        *arguments: str,
        cwd: Path | str = "/",
        timeout: float = 90.0,
        stdin: str = "",
        check: int | None = None,
        **environment: str,
    ) -> Ran:
        """Run ``windlass ARGUMENTS`` from another folder, without a terminal. ``check``: the exit code it must have."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        if check is not None:
            assert ran.code == check, f"exit code {ran.code}, not {check}: {arguments}\n{ran.out}\n{ran.err}"
        return ran

    @contextlib.contextmanager
    def background(self, *arguments: str, cwd: Path | str = "/") -> Iterator[subprocess.Popen[str]]:
        """A command in its own process group; whatever is left of it is killed at the end."""
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def json(self, *arguments: str) -> Any:
        """What ``windlass ARGUMENTS --json`` shows. Cheap enough to be asked again and again."""
        ran = Ran(*_looks.ask(*arguments, "--json", environment=self.environment))
        assert ran.code == 0, f"exit code {ran.code}: {arguments}\n{ran.out}\n{ran.err}"
        return json.loads(ran.out)

    def apps(self, description: str) -> list[dict[str, Any]]:
        return [app for app in self.json("app", "list") if app["description"] == description]

    def app_id(self, description: str) -> str:
        """Of the newest app of that name that has not stopped."""
        return str(next(app["app_id"] for app in self.apps(description) if app["state"] != "stopped"))

    def containers(self, app_id: str | None = None) -> list[dict[str, Any]]:
        return list(self.json("container", "list", *(["--app-id", app_id] if app_id else [])))

    def base(self) -> Path:
        """The folder of the layer of ``debian_slim``, made if it is not there. Only for the platform of the session."""
        app = windlass.App("test-the-base-is-there")
        with app.run():
            image = windlass.Image.debian_slim().build(app)
        return self.home / "layers" / image.object_id

    # -- processes ----------------------------------------------------------------------------------------

    def start(self) -> None:
        self.cli("server", "start", check=0)

    def stop(self) -> None:
        self.cli("server", "stop", check=0)

    def pid(self, program: str) -> int:
        """Of "server", "worker" or "supervisor"; 0 while it does not run."""
        _, out, _ = _looks.ask("server", "status", "--json", environment=self.environment)
        report = json.loads(out)
        return int((report.get(program) or {}).get("pid") or 0)

    def kill(self, program: str) -> None:
        """``kill -9``, and wait until another one has taken its place."""
        before = until(lambda: self.pid(program), what=f"a running {program}")
        os.kill(before, signal.SIGKILL)
        until(lambda: self.pid(program) not in (0, before), what=f"a new {program}")

    def payloads(self) -> dict[int, str]:
        """The processes that run user code, as the host numbers them, each with the id of its container."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    runs = b"windlass/runner/boot.py" in (entry / "cmdline").read_bytes()
                    groups = (entry / "cgroup").read_text() if runs else ""
                except OSError:
                    continue
                if match := re.search(rf"windlass-{leftovers.tag(self.home)}/(ta-\w+)", groups):
                    found[int(entry.name)] = match.group(1)
        return found

    def payload(self, container: str) -> int:
        """The process of a container, once it has begun."""
        return until(
            lambda: next((pid for pid, name in self.payloads().items() if name == container), 0),
            what=f"the process of {container}",
        )


@contextlib.contextmanager
def on_a_small_disk(base: Path, folder: Path, size: int) -> Iterator[Stage]:
    """A platform below ``folder`` on a disk of its own of ``size`` bytes, which has the layer ``base`` already."""
    disk, place = folder / "disk", folder / "small"
    place.mkdir()
    try:
        with disk.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", disk, place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"no disk can be made of a file here: {exc}")
    platform = Stage(place / "home")
    try:
        (platform.home / "layers").mkdir(parents=True)
        subprocess.run(["cp", "-a", base, platform.home / "layers"], check=True)
        platform.start()
        yield platform
    finally:
        platform.stop()
        until(lambda: not leftovers.look(platform.home), 10, "nothing left")
        subprocess.run(["umount", place], check=True)
        disk.unlink()
