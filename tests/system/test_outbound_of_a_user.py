"""What containers may reach on a platform that an ordinary user of the machine owns."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import internet
import ordinary
from stage import Stage


def test_the_lists_of_an_ordinary_user_hold_and_proxies_are_refused_with_the_next_step(stage: Stage, tmp_path):
    if os.geteuid() or not (shutil.which("slirp4netns") and shutil.which("newuidmap")):
        pytest.skip("another user is made by root, with slirp4netns and newuidmap")
    stage.base()
    with internet.internet(tmp_path) as net, ordinary.user() as user:
        program = ordinary.TESTS / "programs" / "outbound_of_a_user.py"
        layers = stage.home / "layers"
        said = json.loads(user.run(program, net.server, net.other, layers=layers, timeout=120).splitlines()[-1])
    assert [one.startswith("from ") for one in said["free"]] == [True, True]
    assert [one.startswith("from ") for one in said["blocked"]] == [False, False]
    assert [one.startswith("from ") for one in said["listed"]] == [False, True]
    assert said["named"][0].startswith("refused")
    assert f"refused by its lists of what it may reach: {net.server}, TCP port 80" in said["log"]
    code, text = said["proxy"]
    assert code == 1 and "slirp4netns" in text
