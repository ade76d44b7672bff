"""A platform used from another machine: a client with a home of its own, and nothing that only Unix has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cutting
import ports
from stage import CHECKOUT, Stage, until
from windlass.client import bridge, session
from windlass.kit import ids

HIDE = """
# What Windows has not. asyncio comes before: on each system it brings what it needs.
import asyncio, importlib.abc, multiprocessing, os, socket, ssl, subprocess, sys, tempfile
import click, cloudpickle, rich.console  # they, too, look at the system's name when they are imported

HIDDEN = {"fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "curses", "readline"}

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"{name} is not on this system", name=name)

for name in HIDDEN & set(sys.modules):
    del sys.modules[name]
sys.meta_path.insert(0, Hide())
for name in (
    "fork", "register_at_fork", "geteuid", "getuid", "mkfifo", "setsid", "getpgid", "killpg", "sysconf", "fchmod",
    "uname", "chown", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK",
):
    delattr(os, name)
pair, unix = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda *_: pair(unix)
del socket.AF_UNIX, socket.SCM_RIGHTS, socket.MSG_NOSIGNAL
ssl.enum_certificates = lambda store: []  # Windows keeps them
del asyncio.open_unix_connection
import signal
for name in ("SIGHUP", "SIGWINCH", "SIGALRM", "SIGCHLD", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGQUIT", "setitimer"):
    delattr(signal, name)
sys.platform = os.environ["WINDLASS_TEST_SYSTEM"]
if __name__ == "__main__":
    from windlass.cli import __main__
    sys.argv[0] = "windlass"
    sys.exit(__main__.main())
"""

PROGRAM = """
import hashlib, io, os
from pathlib import Path, PureWindowsPath
import modal

volume = modal.Volume.from_name("from-afar", create_if_missing=True)
image = modal.Image.debian_slim().add_local_file("{note}", PureWindowsPath("/note.txt"))
app = modal.App("test-remote", image=image)

@app.function(volumes={{PureWindowsPath("/data"): volume}})
def work(x):
    print("worked on", x)
    return x + len(Path("/note.txt").read_text()), hashlib.sha256(Path("/data/large").read_bytes()).hexdigest()

@app.function()
@modal.concurrent(max_inputs=20)
def twice(x):
    return 2 * x

@app.local_entrypoint()
def main():
    print("MAPPED", list(twice.map(range(650))) == list(range(0, 1300, 2)))
    data = os.urandom(70_000_000)
    with open("large", "wb") as file:
        file.write(data)
    with volume.batch_upload(force=True) as batch:
        batch.put_file("large", PureWindowsPath("/large"))
    found = list(work.map(range(3)))
    print("FOUND", [n for n, _ in found], found[0][1] == hashlib.sha256(data).hexdigest())
"""


@pytest.fixture(scope="module")
def served(stage: Stage) -> Iterator[dict[str, str]]:
    """The address, the fingerprint and a token of the platform, which answers remote users for these tests alone."""
    stage.cli("server", "restart", "--listen", "127.0.0.1:0", check=0)
    about: dict[str, Any] = json.loads(stage.cli("server", "status", "--json", check=0).out)["remote"]
    asked = session.current().request
    made = bridge.run(asked("token.create", {"token_id": ids.new("ak"), "name": "laptop"})).body
    yield {
        "WINDLASS_SERVER_URL": about["url"],
        "WINDLASS_SERVER_FINGERPRINT": about["fingerprint"],
        "WINDLASS_TOKEN_ID": made["token_id"],
        "WINDLASS_TOKEN_SECRET": made["secret"],
    }
    stage.cli("server", "restart", "--no-listen", check=0)


def afar(home: Path, about: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command there."""
    (home / "windlass_afar.py").write_text(HIDE)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "src"),
                   "WINDLASS_TEST_SYSTEM": "win32", "USERNAME": "ada", **about}  # fmt: skip
    return subprocess.run(
        [sys.executable, str(home / "windlass_afar.py"), *arguments], cwd=home, env=environment, text=True,
        capture_output=True, timeout=120, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_program_runs_from_another_machine_that_has_none_of_what_only_unix_has(served, tmp_path):
    (tmp_path / "note.txt").write_text("12345")
    (tmp_path / "program.py").write_text(PROGRAM.format(note=tmp_path / "note.txt"))
    ran = afar(tmp_path, served, "run", "program.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FOUND [5, 6, 7] True" in ran.stdout
    assert "MAPPED True" in ran.stdout
    assert "worked on 2" in ran.stdout
    assert not (tmp_path / ".local").exists(), "no platform was started there"
    listed = afar(tmp_path, served, "app", "list", "--json")
    assert "test-remote" in listed.stdout
    shown = afar(tmp_path, served, "shell", "--cmd", "cat /etc/os-release")
    assert "ID=debian" in shown.stdout, shown.stderr
    refused = afar(tmp_path, {**served, "WINDLASS_TOKEN_SECRET": "as-wrong"}, "app", "list")
    assert refused.returncode == 1
    assert "not valid" in refused.stderr


NGINX = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
    uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
    {text}
}}
"""
GUIDE = (CHECKOUT / "docs/guide/reverse-proxy.md").read_text()


def as_the_guide_says(port: int, url: str) -> str:
    """Its text for platforms, without certificates, and with a place that lets no WebSockets through."""
    edge, platform = re.findall(r"```nginx\n(.*?)```", GUIDE, re.DOTALL)
    server = re.sub(r" +ssl_.*\n", "", platform).replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port};")
    server = server.replace("http://127.0.0.1:8643", url).rstrip().removesuffix("}")
    return f"{edge[: edge.index('upstream')]}{server} location /without/ {{ proxy_pass {url}/; }} }}"


@contextlib.contextmanager
def proxied(home: Path, url: str) -> Iterator[str]:
    home.mkdir()
    with ports.reserved() as port:
        yield from _proxied(home, url, port)


def _proxied(home: Path, url: str, port: int) -> Iterator[str]:
    (home / "conf").write_text(NGINX.format(home=home, text=as_the_guide_says(port, url)))
    with subprocess.Popen(["nginx", "-c", str(home / "conf"), "-p", str(home)], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10, "nginx")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx on this machine")
def test_both_carriers_pass_through_a_usual_reverse_proxy(served, tmp_path):
    about = {**served, "WINDLASS_SERVER_FINGERPRINT": ""}
    with proxied(tmp_path / "nginx", served["WINDLASS_SERVER_URL"]) as url:
        websockets_only = url.replace("http", "ws")
        for address in (url, f"{url}/without", url.replace("http", "http+post"), websockets_only):
            ran = afar(tmp_path, {**about, "WINDLASS_SERVER_URL": address}, "node", "list", "--json")
            assert ran.returncode == 0, (address, ran.stderr)
        forced = afar(tmp_path, {**about, "WINDLASS_SERVER_URL": f"{websockets_only}/without"}, "app", "list")
        assert forced.returncode == 1
        assert "A proxy in between must pass WebSockets" in forced.stderr


@contextlib.contextmanager
def counted(port: int, most: float = float("inf")) -> Iterator[cutting.Stretch]:
    """A way to ``port`` that knows how many bytes went over it, and is cut when there were more than ``most``."""
    loop, made = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        nonlocal stretch
        async with cutting.Stretch(port, most=most) as stretch:
            made.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    stretch: Any = None
    task = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    try:
        assert made.wait(10)
        yield stretch
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_a_large_file_whose_transfer_was_killed_goes_on_where_it_was(served, stage, tmp_path):
    data = os.urandom(240 * 2**20)
    some, piece = 100 * 2**20, 16 * 2**20
    (tmp_path / "weights").write_bytes(data)
    url, _, port = served["WINDLASS_SERVER_URL"].rpartition(":")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "src"), **served}
    assert afar(tmp_path, served, "volume", "create", "from-afar-large").returncode == 0

    def there(folder: Path, pattern: str) -> int:
        return sum(file.stat().st_size for file in folder.glob(pattern))

    def settled(folder: Path, pattern: str) -> bool:
        before = there(folder, pattern)
        time.sleep(0.5)
        return there(folder, pattern) == before

    def killed(folder: Path, pattern: str, *arguments: str) -> None:
        """Run a command that some of the bytes reach, and then no more, and then its death."""
        command = [sys.executable, "-m", "windlass.cli", "volume", *arguments]
        with counted(int(port), some) as way:
            about = {**environment, "WINDLASS_SERVER_URL": f"{url}:{way.port}"}
            with subprocess.Popen(command, cwd=tmp_path, env=about, stderr=subprocess.DEVNULL) as running:
                until(lambda: way.cut and there(folder, pattern) > some * 0.8, 60, "some of it")
                running.kill()
        until(lambda: settled(folder, pattern), 20, "an end of what comes")

    def rest(*arguments: str) -> int:
        """How many bytes the same command takes then."""
        with counted(int(port)) as way:
            again = {**served, "WINDLASS_SERVER_URL": f"{url}:{way.port}"}
            done = afar(tmp_path, again, "volume", *arguments)
            assert done.returncode == 0, done.stderr
            return way.seen

    put = ("put", "from-afar-large", "weights", "/weights")
    incoming = stage.home / "uploads/incoming", "stream-*"
    killed(*incoming, *put)
    came = there(*incoming) // piece * piece
    assert some * 0.6 < came < some
    assert len(data) - came < rest(*put) < (len(data) - came) * 1.1
    assert there(*incoming) == 0

    get = ("get", "from-afar-large", "/weights", "back")
    parts = tmp_path, ".*.windlass-part"
    killed(*parts, *get)
    came = there(*parts) // piece * piece - 2 * piece
    assert some * 0.4 < came < some
    assert len(data) - came < rest(*get) < (len(data) - came) * 1.1
    assert (tmp_path / "back").read_bytes() == data and there(*parts) == 0
    assert afar(tmp_path, served, "volume", "delete", "from-afar-large", "--yes").returncode == 0
