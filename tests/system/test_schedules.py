"""Functions that run by themselves, in real containers, while the server is killed."""
from __future__ import annotations

import datetime
import re

import pytest

from stage import until

EVERY = 5
SOURCE = f"""
import time
import modal

app = modal.App("sched-beat")

@app.function(schedule=modal.Period(seconds={EVERY}))
def beat():
    print(f"beat {{time.time()}}")

@app.function(schedule=modal.Cron("0 6 1 1 *", timezone="Europe/Berlin"))
def yearly(word="nothing"):
    print(f"yearly was given {{word}}")
"""
SERVED = """
import modal

app = modal.App("sched-served")

@app.function(schedule=modal.Period(seconds=1))
def beat():
    print("beat")
"""


def logs(stage, app: str) -> str:
    return str(stage.cli("app", "logs", app, "--tail", "1000").out)


def beats(stage) -> list[float]:
    return [float(time) for time in re.findall(r"beat ([\d.]+)", logs(stage, "sched-beat"))]


@pytest.fixture
def deployed(stage, program):
    stage.cli("deploy", program("scheduled.py", SOURCE), check=0)
    yield
    stage.cli("app", "stop", "sched-beat", "--yes")


def test_a_deployed_function_runs_by_itself_and_a_killed_server_loses_and_doubles_no_run(stage, deployed):
    for number in (2, 4):
        until(lambda number=number: len(beats(stage)) >= number, 60, f"{number} beats")
        stage.kill("server")
    until(lambda: len(beats(stage)) >= 6, 60, "6 beats")
    due = {one["function"]: one["next_run"] for one in stage.json("app", "schedules", "sched-beat")}["beat"]
    warm = sorted(beats(stage))[1:]
    turns = [(at - datetime.datetime.fromisoformat(due).timestamp()) // EVERY for at in warm]  # late, but in its turn
    assert [turn - turns[0] for turn in turns] == [*range(len(warm))], warm


def test_a_function_is_run_now_and_its_runs_are_listed(stage, deployed):
    before = {one["function"]: one for one in stage.json("app", "schedules", "sched-beat")}
    assert before["yearly"]["schedule"] == "0 6 1 1 * (Europe/Berlin)" and before["yearly"]["last_run"] is None
    assert before["beat"]["schedule"] == f"every {EVERY} seconds" and before["beat"]["next_run"]
    said = stage.cli("app", "run-now", "sched-beat", "yearly", check=0).out
    until(lambda: "yearly was given nothing" in logs(stage, "sched-beat"), 30, "the run's output")
    after = {one["function"]: one for one in stage.json("app", "schedules", "sched-beat")}["yearly"]
    assert after["last_call"] in said and after["last_run"] and after["next_run"] == before["yearly"]["next_run"]
    wrong = stage.cli("app", "run-now", "sched-beat", "yearlyy", check=1)
    assert "Did you mean yearly?" in wrong.text
    assert "yearly" in stage.cli("app", "schedules", "sched-beat", check=0).out


def test_a_served_app_runs_its_schedules_and_one_that_is_run_does_not(stage, program):
    path = program("served_schedule.py", SERVED)
    with stage.background("serve", path) as process:
        lines = []
        while lines.count("beat\n") < 2:
            lines.append(process.stdout.readline())
            assert lines[-1], f"it has ended: {lines}"
    running = program("run_schedule.py", SERVED.replace("sched-served", "sched-run") + WAITS)
    ran = stage.cli("run", f"{running}::main", check=0)
    assert "waited" in ran.text and "beat\n" not in ran.text


WAITS = """
@app.local_entrypoint()
def main():
    import time
    time.sleep(3)
    print("waited")
"""


def test_bad_cron_texts_are_refused_before_anything_is_deployed(stage, program):
    path = program("bad_schedule.py", SOURCE.replace("0 6 1 1 *", "0 6 30 2 *").replace("sched-beat", "sched-bad"))
    refused = stage.cli("deploy", path)
    assert refused.code == 1 and "never comes" in refused.text
    assert stage.apps("sched-bad") == []
