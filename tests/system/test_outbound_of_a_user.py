"""What containers may reach on a platform that an ordinary user of the machine owns."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import internet
import ordinary
from stage import Stage, until


def answer(host: socket.socket) -> None:
    """A service of this machine."""
    with contextlib.suppress(OSError):
        while True:
            with host.accept()[0] as one:
                one.sendall(b"from the host")


def move(home: Path, net: internet.Internet) -> None:
    """This machine gets another address when the user's program asks for it."""
    until((home / "ready").exists, 170)
    subprocess.run(["ip", "addr", "add", f"{net.late}/32", "dev", net.link], check=True)
    (home / "added").touch()


def test_the_lists_of_an_ordinary_user_hold_and_proxies_are_refused_with_the_next_step(stage: Stage, tmp_path):
    if os.geteuid() or not (shutil.which("slirp4netns") and shutil.which("newuidmap")):
        pytest.skip("another user is made by root, with slirp4netns and newuidmap")
    stage.base()
    with internet.internet(tmp_path) as net, ordinary.user() as user, socket.create_server(("0.0.0.0", 0)) as host:
        program = ordinary.TESTS / "programs" / "outbound_of_a_user.py"
        words = net.server, net.other, net.late, str(host.getsockname()[1])
        threading.Thread(target=answer, args=(host,), daemon=True).start()
        threading.Thread(target=move, args=(user.home.parent, net), daemon=True).start()
        said = json.loads(user.run(program, *words, layers=stage.home / "layers", timeout=170).splitlines()[-1])
    assert said["late"][0].startswith("nothing"), "a service of the machine, at an address that came later"
    assert [one.startswith("from ") for one in said["free"]] == [True, True]
    assert [one.startswith("from ") for one in said["blocked"]] == [False, False]
    assert [one.startswith("from ") for one in said["listed"]] == [False, True]
    assert said["named"][0].startswith("refused")
    assert f"refused by its lists of what it may reach: {net.server}, TCP port 80" in said["log"]
    code, text = said["proxy"]
    assert code == 1 and "slirp4netns" in text
