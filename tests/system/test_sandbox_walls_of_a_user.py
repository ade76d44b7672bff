"""The attempts of ``test_sandbox_walls`` on a platform that an ordinary user of the machine owns."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

import pytest

import escapes
import leftovers
import ordinary
from stage import Stage


@pytest.fixture(scope="module")
def told(stage: Stage) -> Any:
    if os.geteuid() or not shutil.which("newuidmap"):
        pytest.skip("another user is made by root, with newuidmap")
    stage.base()
    with ordinary.user() as user:
        try:
            program = ordinary.TESTS / "programs" / "escaping.py"
            yield json.loads(user.run(program, layers=stage.home / "layers", timeout=150).splitlines()[-1])
        finally:
            end = time.monotonic() + 10
            while (left := leftovers.look(user.home)) and time.monotonic() < end:
                time.sleep(0.1)
        assert not left


@pytest.mark.parametrize("who", ["root", "user"])
def test_nobody_inside_gets_out_of_a_platform_of_an_ordinary_user(told, who):
    said = told["said"][who]
    assert said.keys() == escapes.ATTEMPTS.keys() - set(told["left_out"])
    assert set(told["left_out"]) <= escapes.NEEDS.keys()
    assert not {name: what for name, what in said.items() if not escapes.held(what)}
