"""What the SDK tells of its own work."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from windlass import paths

_PROGRAM = """
from windlass.client import bridge, session
bridge.run(session.current().request("node.list", {}))
"""


def told(**settings: str) -> str:
    argv, env = [sys.executable, "-c", _PROGRAM], {**os.environ, **settings}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode == 0 else f"{done.returncode}: {done.stderr}"


def test_by_default_it_tells_nothing(platform):
    platform(lambda x: x)
    assert told() == ""


def test_the_level_the_pattern_and_the_format_are_those_of_the_settings(platform, tmp_path):
    platform(lambda x: x)
    said = told(WINDLASS_LOGLEVEL="debug", WINDLASS_LOG_PATTERN="%(levelname)s <%(message)s>").splitlines()
    assert said[0] == "DEBUG <asking node.list>"
    assert said[1] == f"INFO <connected to {paths.server_socket(tmp_path)}, which runs Windlass 0>"
    (line,) = told(WINDLASS_LOGLEVEL="INFO", WINDLASS_LOG_FORMAT="json").splitlines()
    assert json.loads(line)["level"] == "INFO" and "connected to" in json.loads(line)["message"]


@pytest.mark.parametrize(
    "settings",
    [{"WINDLASS_LOGLEVEL": "loud"}, {"WINDLASS_LOG_PATTERN": "%(nothing"}, {"WINDLASS_LOG_PATTERN": "%(nothing)s"}],
)
def test_a_setting_that_is_none_is_refused_by_its_name(platform, settings):
    platform(lambda x: x)
    said = told(**{"WINDLASS_LOGLEVEL": "DEBUG", **settings})
    assert "InvalidError" in said and "wrong value" in said
