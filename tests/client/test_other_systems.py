"""The client on systems that cannot have a platform: what it names for a Linux machine, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

import windlass as modal
from windlass import exception, paths
from windlass.cli import terminal
from windlass.client import bridge, volumes
from windlass.kit import slashes

AS = "import click, cloudpickle, rich.console, sys; sys.platform = {system!r}\n"


def on(system: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS.format(system=system) + code], text=True, capture_output=True, check=False,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "named"),
    [(PureWindowsPath("/cache/x"), "/cache/x"), (Path("/a/b"), "/a/b"), ("/as/it/is/", "/as/it/is/"), (None, None)],
)
def test_a_path_of_windows_is_named_with_slashes(given, named):
    assert slashes.forward(given) == named


def test_paths_of_windows_name_places_in_containers_and_volumes():
    volume = modal.Volume.from_name("weights")
    function = modal.App("w").function(serialized=True, volumes={PureWindowsPath("/cache"): volume})(lambda: None)
    assert list(function._options.volumes) == ["/cache"]
    image = modal.Image.debian_slim().workdir(PureWindowsPath("/srv/x"))
    assert image._steps[-1].recipe["path"] == "/srv/x"
    image.add_local_file(__file__, PureWindowsPath("/srv/x.py"))
    image.add_local_dir(str(Path(__file__).parent), PureWindowsPath("/srv/x"))
    assert volumes.inside(PureWindowsPath("/a/b")) == "a/b"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_where_no_platform_can_be_it_is_said_at_once_and_how_to_use_another(system, tmp_path):
    code = "from windlass.cli import __main__; sys.exit(__main__.execute({!r}))"
    for command in (["app", "list"], ["server", "start"], ["server", "install", "--print"], ["doctor"]):
        said = on(system, code.format(command), HOME=str(tmp_path), USERNAME="ada")
        assert said.returncode == 1
        assert "a platform runs on Linux" in said.stderr, said.stderr
        assert "windlass token create" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_of_windows_is_not_lent(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(exception.UnimplementedError, match="Windows"):
        terminal.check_lendable()


def test_a_home_with_a_long_name_is_no_trouble_where_users_have_no_numbers(monkeypatch):
    monkeypatch.delattr(os, "geteuid")
    assert paths.run(Path("/" + "x" * 200)).name.startswith("windlass-user-")


def test_on_windows_a_waiting_thread_looks_up_for_ctrl_c_now_and_then():
    said = on("win32", "from windlass.client import bridge; print(bridge._LOOK)")
    assert float(said.stdout) == 0.2
    assert bridge._LOOK > 1, "elsewhere a signal wakes it, nearly always"


def test_an_interrupt_that_another_thread_was_given_ends_the_wait_all_the_same():
    """As the system may do; it wakes nobody that waits for a lock."""
    code = """
import asyncio, signal, threading, time
from windlass.client import bridge
begun = threading.Event()
async def long():
    begun.set()
    await asyncio.sleep(3600)
def taken():
    begun.wait()
    time.sleep(1)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(3600)
threading.Thread(target=taken, daemon=True).start()
try:
    bridge.run(long())
except KeyboardInterrupt:
    print("interrupted")
"""
    said = on(sys.platform, code)
    assert said.stdout == "interrupted\n", said.stderr


def test_what_a_narrow_console_cannot_show_is_written_another_way():
    code = "from windlass.cli import __main__\n__main__.execute = lambda argv: print('✓ ok')\n__main__.main()"
    said = on("linux", code, PYTHONIOENCODING="cp1252")
    assert said.stdout == "\\u2713 ok\n", said.stderr
