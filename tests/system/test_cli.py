"""The command line: what it lists and does, what it says of bad input, with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

import windlass
from programs import calls
from stage import until

JOB = '''
"""A job."""
import datetime
import typing
import modal

app = modal.App("test-cli-job")

@app.function()
def shout(text: str, times: int = 1, loud: bool = False):
    return (text.upper() if loud else text) * times

@app.function()
def raw(): return b"bytes"

@app.function()
def stream():
    yield 1

@app.local_entrypoint()
def main(n: int, ratio: float = 0.5, name: str = "x", flag: bool = False, when: datetime.datetime = None,
         kind: typing.Literal["a", "b"] = "a"):
    print("ARGS", n, ratio, name, flag, when, kind)

@app.local_entrypoint()
def words(*args):
    print("WORDS", args)

@app.local_entrypoint()
async def later():
    print("LATER", await shout.remote.aio("async"))

@app.local_entrypoint()
def broken():
    raise ValueError("broken here")

def plain(): ...
'''


@pytest.fixture
def job(program):
    return program("job.py", JOB)


# -- run ------------------------------------------------------------------------------------------------


def test_arguments_are_typed_by_the_signature(stage, job):
    out = stage.cli(
        "run",
        f"{job}::main",
        "--n",
        "3",
        "--ratio",
        "2.5",
        "--name",
        "a b",
        "--flag",
        "--when",
        "2026-01-02",
        "--kind",
        "b",
        check=0,
    ).out
    assert "ARGS 3 2.5 a b True 2026-01-02 00:00:00 b" in out
    assert "WORDS ('1', '--two', 'three')" in stage.cli("run", f"{job}::words", "1", "--two", "three", check=0).out
    assert "LATER async" in stage.cli("run", f"{job}::later", check=0).out


def test_wrong_arguments_are_usage_errors(stage, job):
    for words, said in [
        ([], "--n"),
        (["--n", "three"], "three"),
        (["--n", "1", "--colour", "red"], "--colour"),
        (["--n", "1", "--kind", "c"], "c"),
        (["--n", "1", "extra"], "extra"),
    ]:
        ran = stage.cli("run", f"{job}::main", *words, check=2)
        assert said in ran.err and "Traceback" not in ran.err


def test_a_function_is_run_and_its_result_written(stage, job, tmp_path):
    target = tmp_path / "result"
    stage.cli("run", "-w", str(target), f"{job}::shout", "--text", "hey", "--times", "2", "--loud", check=0)
    assert target.read_text() == "HEYHEY"
    stage.cli("run", "-q", "-w", str(target), f"{job}::raw", check=0)
    assert target.read_bytes() == b"bytes"


def test_help_lists_the_options_of_the_function(stage, job):
    ran = stage.cli("run", f"{job}::main", "--help", check=0)
    assert "--ratio" in ran.out and "--flag / --no-flag" in ran.out


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere.py", "nowhere.py"),
        ("{job}::nothing", "nothing"),
        ("{job}::mian", "main"),
        ("{job}::plain", "plain"),
        ("{job}:main", "::"),
        ("{job}::", "::"),
        ("{job}::stream", "generator"),
        ("{job}", "several"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_sentence(stage, job, reference, said):
    ran = stage.cli("run", reference.format(job=job))
    assert ran.code == 1 and said in ran.err and "Traceback" not in ran.err


def test_a_syntax_error_shows_its_line(stage, program):
    ran = stage.cli("run", program("wrong.py", "import modal\napp = modal.App(\ndef f(: pass\n"), check=1)
    assert "SyntaxError" in ran.err and "wrong.py" in ran.err and "windlass/" not in ran.err


def test_an_exception_of_the_program_shows_its_own_frames_only(stage, job):
    ran = stage.cli("run", f"{job}::broken", check=1)
    assert "ValueError: broken here" in ran.err and "job.py" in ran.err
    assert "windlass/cli" not in ran.err and "windlass/client" not in ran.err


def test_a_remote_exception_shows_both_sides(stage, program):
    ran = stage.cli(
        "run",
        program(
            "both.py",
            """
import modal
app = modal.App("test-both-sides")

@app.function()
def remote_side():
    return 1 / 0  # it is here

@app.local_entrypoint()
def main():
    remote_side.remote()  # it was called here
""",
        ),
        check=1,
    )
    for said in ("ZeroDivisionError: division by zero", "it is here", "it was called here", "in remote_side"):
        assert said in ran.err
    assert "windlass/" not in ran.err and "__windlass" not in ran.err


def test_missing_modules_and_apps_are_said(stage, program):
    ran = stage.cli("run", program("missing.py", "import no_such_module_here\n"), check=1)
    assert "no_such_module_here" in ran.err
    ran = stage.cli("run", program("empty.py", "x = 1\n"), check=1)
    assert "empty.py" in ran.err and "app" in ran.err.lower()


def test_output_without_a_terminal_has_no_colours_or_control_characters(stage, job):
    ran = stage.cli("run", f"{job}::later", check=0)
    assert "\x1b" not in ran.text and "\r" not in ran.text


# -- the rest -------------------------------------------------------------------------------------------


def test_unknown_commands_and_missing_ones(stage):
    assert "Did you mean run" in stage.cli("runn", check=2).err
    assert stage.cli("app", check=2).text
    assert "windlass" in stage.cli("--version", check=0).out
    assert "doctor" in stage.cli("--help", check=0).out


def test_apps_are_listed_followed_and_stopped(stage):
    with calls.app.run() as app:
        calls.echo.remote(1)
        (row,) = [row for row in stage.json("app", "list") if row["app_id"] == app.app_id]
        assert row["description"] == "test-calls" and row["state"] == "ephemeral" and row["tasks"] >= 1
        assert row["created_at"] and row["stopped_at"] is None
        assert app.app_id in stage.cli("app", "list", check=0).out
        ran = stage.cli("app", "stop", app.app_id)
        assert ran.code == 1 and "--yes" in ran.err, "without a terminal it must be confirmed"
        call = calls.echo.spawn(2)
        call.get()
        stage.cli("app", "stop", app.app_id, "-y", check=0)
        until(lambda: not stage.containers(app.app_id), 20, "its containers are gone")
        with pytest.raises(windlass.Error):
            calls.echo.remote(3)
    (row,) = [row for row in stage.json("app", "list") if row["app_id"] == app.app_id]
    assert row["state"] == "stopped" and row["stopped_at"]
    assert stage.cli("app", "stop", app.app_id, "-y").code == 1


def test_containers_are_listed_entered_and_stopped(stage):
    with calls.app.run() as app:
        there = calls.where.remote()
        (row,) = stage.containers(app.app_id)
        assert (
            row["container_id"] == there["task"] and row["app_name"] == "test-calls" and row["start_time"] != "Pending"
        )
        ran = stage.cli(
            "container", "exec", there["task"], "sh", "-c", "echo out; echo err >&2; cat; exit 5", stdin="typed\n"
        )
        assert (ran.code, ran.out, ran.err.strip()) == (5, "out\ntyped\n", "err")
        stage.cli("container", "logs", there["task"], check=0)
        stage.cli("container", "stop", there["task"], "-y", check=0)
        until(lambda: there["task"] not in [c["container_id"] for c in stage.containers()], 40, "it is gone")
        assert calls.where.remote()["task"] != there["task"]


def test_what_does_not_exist_is_not_found(stage):
    for command in (
        ["app", "logs", "no-such-app"],
        ["app", "stop", "no-such-app", "-y"],
        ["container", "logs", "ta-" + "0" * 22],
        ["container", "stop", "ta-" + "0" * 22, "-y"],
        ["container", "exec", "ta-" + "0" * 22, "true"],
        ["container", "logs", "nonsense"],
    ):
        ran = stage.cli(*command)
        assert ran.code == 1 and ran.err and "Traceback" not in ran.err, command


def test_contradicting_log_options_are_usage_errors(stage):
    assert stage.cli("app", "logs", "x", "-f", "--since", "1h").code == 2
    assert stage.cli("app", "logs", "x", "--since", "yesterday-ish").code == 2


def test_a_stopped_container_loses_no_input(stage):
    with calls.app.run() as app:
        call = calls.fan_out.spawn(300)
        until(lambda: stage.containers(app.app_id), what="a container")
        for row in stage.containers(app.app_id):
            stage.cli("container", "stop", row["container_id"], "-y")
        assert call.get(timeout=60) == sum(range(300)) + 300


def test_the_doctor_tells_what_the_machine_gives(stage):
    ran = stage.cli("doctor", "--json")
    report = json.loads(ran.out)
    assert ran.code == 0 and report["able"] is True
    names = {finding["name"] for finding in report["findings"]}
    assert {"python", "conmon", "home", "platform"} <= names and any("runtime" in name for name in names)
    assert all(finding["state"] in ("good", "limited", "missing") for finding in report["findings"])
    assert all(finding["remedy"] for finding in report["findings"] if finding["state"] != "good"), (
        "each gap has a way out"
    )
    assert "Functions can run" in stage.cli("doctor", check=0).out


def test_the_server_tells_its_state_and_shows_its_logs(stage):
    report = json.loads(stage.cli("server", "status", "--json", check=0).out)
    assert report["state"] == "running" and report["home"] == str(stage.home)
    assert report["server"]["pid"] and report["worker"]["pid"]
    assert re.search(r"server +process \d+", stage.cli("server", "status", check=0).out)
    stage.cli("server", "logs", "worker", check=0)
    assert "already" in stage.cli("server", "start", check=0).out


def test_a_closed_pipe_is_no_traceback(stage, job):
    with stage.background("run", f"{job}::words", "x") as process:
        process.stdout.close()
        assert process.wait(60) in (0, 1, -signal.SIGPIPE, 141)


def test_a_home_that_cannot_be_written_is_said(stage, job, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    ran = stage.cli("run", f"{job}::later", WINDLASS_HOME=str(blocker / "home"))
    assert ran.code == 1 and "WINDLASS_HOME" in ran.err and "Traceback" not in ran.err
    assert os.listdir(tmp_path / ".") != []
