"""Whose socket it is, before a token is told to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from windlass import exception, paths
from windlass.cli import control, programs
from windlass.client import address, bridge, direct, listener, session

STRANGER = 4321
LISTEN = """
import os, socket, sys
path, user = sys.argv[1], int(sys.argv[2])
end = socket.socket(socket.AF_UNIX); end.bind(path)
os.setgid(user); os.setuid(user)
end.listen()  # who does this is who listens, for the kernel
print("listening", flush=True)
while True:
    one = end.accept()[0]
    one.settimeout(5)
    print(len(one.recv(4096)), flush=True)
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """With a path that is too long for sockets."""
    long = tmp_path / ("x" * 100)
    yield long
    shutil.rmtree(paths.run(long), ignore_errors=True)


@contextlib.contextmanager
def stranger(path: Path) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-c", LISTEN, str(path), str(STRANGER)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "listening\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_stranger_who_made_the_folder_below_tmp_is_told_nothing(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("WINDLASS_HOME", str(home))
    folder = paths.run(home)
    folder.mkdir()
    os.chown(folder, STRANGER, STRANGER)
    with stranger(paths.server_socket(home)) as process:
        where = address.of_process({"token_id": "i", "token_secret": "s"} | dict.fromkeys(
            ("oauth_refresh_token", "oauth_client_id", "server_url"), ""))  # fmt: skip
        with pytest.raises(exception.PermissionDeniedError, match="belongs to another user") as caught:
            direct.request(where.socket, where.hello, "app.get", {}, home=where.home)
        assert "WINDLASS_HOME" in caught.value.hint
        with pytest.raises(exception.PermissionDeniedError):
            control.ask_server(home)
        with pytest.raises(exception.PermissionDeniedError):
            bridge.run(session.Session(where).request("app.get", {}))
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["0\n"] * 3, "no byte, by none of the three ways"
    (folder / "supervisor.json").write_text('{"pid": 1}')
    with pytest.raises(exception.PermissionDeniedError, match="belongs to another user"):
        control.stop(home)  # it would end the process that they name
    with pytest.raises(exception.PermissionDeniedError):
        programs.prepare(home)


def test_the_owner_of_a_home_and_root_may_listen_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = paths.server_socket(tmp_path)
    with stranger(path), socket.socket(socket.AF_UNIX) as end:
        end.connect(str(path))
        with pytest.raises(exception.PermissionDeniedError, match=f"user {STRANGER}"):
            listener.check(end, str(path), tmp_path)
        os.chown(tmp_path, STRANGER, STRANGER)
        listener.check(end, str(path), tmp_path)


def test_an_answer_that_something_took_too_long_is_not_nobody(monkeypatch, tmp_path) -> None:
    def slow(*args: object, **options: object) -> None:
        raise exception.TimeoutError("the database is busy")

    monkeypatch.setattr(direct, "request", slow)
    with pytest.raises(exception.TimeoutError, match="busy"):
        control.ask_server(tmp_path, "node.list")
    assert control.ask_server(tmp_path) is None
