"""Ctrl-C ends a run, everything of it, and says so with exit code 130."""

from __future__ import annotations

import os
import signal
import time

import pytest

from stage import until

SOURCE = """
import time
import modal

app = modal.App("test-interrupted")

@app.function()
def sleeper(seconds: int = 1000):
    print("it sleeps", flush=True)
    time.sleep(seconds)

@app.function()
def noop(): ...

@app.local_entrypoint()
def remote():
    sleeper.remote()

@app.local_entrypoint()
def mapped():
    list(sleeper.map([1000] * 20))

@app.local_entrypoint()
def here():
    noop.remote()
    print("it sleeps", flush=True)
    time.sleep(1000)

@app.local_entrypoint()
async def asynchronous():
    await sleeper.remote.aio()
"""


@pytest.fixture(scope="module", autouse=True)
def killed(stage, tmp_path_factory) -> str:
    """The app of a program that was killed before all tests of this file: the last one waits for what comes of it."""
    path = tmp_path_factory.mktemp("killed") / "killed.py"
    path.write_text(SOURCE.replace("test-interrupted", "test-killed"))
    with stage.background("run", f"{path}::remote") as process:
        for line in process.stdout:
            if "it sleeps" in line:
                break
        app_id = stage.app_id("test-killed")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert stage.containers(app_id), "nobody has noticed yet"
    return app_id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_stops_its_app_as_with_ctrl_c(stage, program, number):
    path = program("sleepy.py", SOURCE)
    with stage.background("run", f"{path}::remote") as process:
        for line in process.stdout:
            if "it sleeps" in line:
                break
        os.kill(process.pid, number)
        said = process.communicate(timeout=30)[0]
        assert process.returncode == 130 and "Traceback" not in said, said
    assert stage.apps("test-interrupted")[0]["state"] == "stopped", "at once, not when its heartbeats are missed"


@pytest.mark.parametrize("entrypoint", ["remote", "mapped", "here", "asynchronous"])
def test_ctrl_c_exits_130_and_nothing_keeps_running(stage, program, entrypoint):
    path = program("sleepy.py", SOURCE)
    with stage.background("run", f"{path}::{entrypoint}") as process:
        for line in process.stdout:
            if "it sleeps" in line:
                break
        app_id = stage.app_id("test-interrupted")
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[0]
        assert process.returncode == 130, said
        assert "Traceback" not in said
    until(lambda: not stage.containers(app_id), 40, "its containers are gone")
    assert stage.apps("test-interrupted")[0]["state"] == "stopped"


def test_a_detached_run_lives_on_after_ctrl_c(stage, program):
    path = program("sleepy.py", SOURCE)
    with stage.background("run", "-d", f"{path}::remote") as process:
        for line in process.stdout:
            if "it sleeps" in line:
                break
        app_id = stage.app_id("test-interrupted")
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    assert app_id in said, "it is said how to follow or stop it"
    time.sleep(2)
    assert len(stage.containers(app_id)) == 1
    stage.cli("app", "stop", app_id, "-y", check=0)
    until(lambda: not stage.containers(app_id), 20, "its containers are gone")


def test_an_app_whose_program_was_killed_is_stopped_by_itself(stage, killed):
    until(lambda: not stage.containers(killed), 100, "the platform has noticed")
    assert stage.apps("test-killed")[0]["state"] == "stopped"
