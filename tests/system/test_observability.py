"""What the platform remembers of calls and functions, asked by the command line, with real containers."""

from __future__ import annotations

import datetime
import json
import re

import pytest

import windlass
import windlass.exception
from stage import until

JOBS = """
import time
import modal

app = modal.App("test-looking-back")

@app.function(retries=modal.Retries(max_retries=1, initial_delay=1.0))
def fail(x: int):
    print("trying", x)
    began = time.process_time()
    held = bytearray(64 * 1024 * 1024)
    while time.process_time() - began < 0.2:
        pass
    raise ValueError(f"no good: {x}")

@app.function(memory=(256, 256))
def eat():
    held = [bytearray(b"x" * 1024 * 1024) for _ in range(2000)]

@app.function()
def quick(x: int):
    return x

@app.local_entrypoint()
def main():
    call = fail.spawn(7)
    hungry = eat.spawn()
    for one in (call, hungry):
        try:
            one.get()
        except Exception as exc:
            print(f"ENDED {one.object_id} {type(exc).__name__}")
    assert list(quick.map(range(200))) == list(range(200))
"""


def test_a_failing_call_is_explained_by_its_record_and_its_function_by_its_figures(stage, program):
    ran = stage.cli("run", program("looking_back.py", JOBS), check=0)
    call_id, hungry = re.findall(r"ENDED (fc-\w+)", ran.out)
    app_id = stage.apps("test-looking-back")[0]["app_id"]

    first, second = json.loads(stage.cli("call", "info", call_id, "--json", check=0).out)
    assert first["status"] == second["status"] == "failure"
    assert (first["final"], second["final"]) == (False, True)
    assert first["reason"] == "ValueError('no good: 7')" and first["function"] == "fail"
    assert first["start_seconds"] > 0.005 and second["start_seconds"] == 0
    for one in (first, second):
        assert 0.2 <= one["run_seconds"] < 20 and 0.15 <= one["cpu_seconds"] <= one["run_seconds"] + 0.1
        assert 64 << 20 < one["memory_peak"] < 512 << 20
        assert one["container_id"].startswith("ta-")
    assert second["replayable"]

    dead = json.loads(stage.cli("call", "info", hungry, "--json", check=0).out)[-1]
    assert dead["status"] == "crash" and dead["exit"]["reason"] == "oom"
    assert "out of memory" in dead["reason"] and dead["exit"]["memory_limit"] == 256 << 20
    assert dead["exit"]["cpu_seconds"] > 0.05

    text = stage.cli("call", "info", call_id, check=0).out
    assert call_id in text and "no good: 7" in text and "failure, again" in text
    listed = json.loads(stage.cli("call", "list", "--app", app_id, "--failed", "--json", check=0).out)
    assert {one["call_id"] for one in listed} == {call_id, hungry}
    of_one = json.loads(stage.cli("function", "calls", "fail", "--app", app_id, "--json", check=0).out)
    assert [one["attempt"] for one in of_one] == [2, 1]

    stats = json.loads(stage.cli("function", "stats", "quick", "--app", app_id, "--json", check=0).out)
    assert [one["window"] for one in stats] == ["5 min", "1 h", "24 h"]
    assert stats[0]["inputs"] == 200 and stats[0]["failures"] == 0 and stats[0]["containers_started"] >= 1
    assert 0 < stats[0]["run_p50"] <= stats[0]["run_p99"]
    for phase in ("container_made_p50", "code_loaded_p50"):
        assert 0.001 < stats[0][phase] < 30
    assert "Run p50 / p99" in stage.cli("function", "stats", "quick", "-a", app_id, check=0).out

    whole = json.loads(stage.cli("app", "stats", app_id, "--since", "1h", "--json", check=0).out)
    assert len(whole) == 1 and whole[0]["inputs"] >= 202 and whole[0]["failures"] == 2
    assert "Run p50 / p99" in stage.cli("app", "stats", app_id, check=0).out
    assert "30 days" in stage.cli("app", "stats", app_id, "--since", "40d", "--until", "39d", check=2).err

    about = json.loads(stage.cli("function", "info", "eat", "-a", app_id, "--json", check=0).out)[0]
    assert about["resources"] == "CPU 0.125, memory 256 MiB up to 256 MiB"
    assert about["state"] == "its app has stopped" and "base debian_slim" in about["image"]


def test_logs_are_found_by_function_and_call_with_ids_and_times(stage, program):
    ran = stage.cli("run", program("looking_back.py", JOBS), check=0)
    call_id = re.search(r"ENDED (fc-\w+)", ran.out).group(1)
    lines = stage.cli("app", "logs", "test-looking-back", "--function", "fail", "-s", "stdout", check=0).lines
    assert lines == ["trying 7", "trying 7"]
    lines = stage.cli(
        "app", "logs", "test-looking-back", "--function-call", call_id, "-s", "stdout", "--timestamps",
        "--show-function-id", "--show-function-call-id", "--show-container-id", check=0,
    ).lines  # fmt: skip
    assert len(lines) == 2
    for line in lines:
        assert re.search(rf"\d\d:\d\d:\d\d.* fu-\w{{22}} {call_id} ta-\w{{22}} trying 7$", line), line
    lines = stage.cli("function", "logs", "fail", "-a", "test-looking-back", "-s", "stdout", check=0).lines
    assert lines == ["trying 7", "trying 7"]
    assert stage.cli("app", "logs", "test-looking-back", "--until", "1h", "--since", "2h", check=0).lines == []


def test_programs_read_logs_and_figures_of_apps_functions_and_calls(stage):
    app = windlass.App("test-reading-back")

    @app.function(serialized=True, name="speak")
    def speak(text: str) -> None:
        print(text)

    before = datetime.datetime.now() - datetime.timedelta(seconds=5)
    with app.run():
        call = speak.spawn("one")
        call.get()
        speak.remote("two")
        assert app.info().functions == {"speak": speak.object_id}
        shown = []
        for entry in app.logs.stream(timeout=30):
            shown.append(entry.message)
            if len(shown) == 2:
                break
        assert shown == ["one\n", "two\n"]
        assert [entry.message for entry in speak.logs.tail(1)] == ["two\n"]
        (entry,) = call.logs.fetch(before)
        assert (entry.message, entry.source, entry.context_ids["function_call"]) == ("one\n", "stdout", call.object_id)
        assert entry.object_id.startswith("ta-") and before.astimezone() < entry.timestamp
        stats = speak.stats()
        assert (stats.inputs, stats.failures, stats.containers) == (2, 0, 1) and stats.run.p99 is not None
    assert app.stats().inputs == 2
    assert [entry.message for entry in app.logs.fetch(before, search_text="tw")] == ["two\n"]
    assert list(app.logs.fetch(before, source="stderr")) == []
    with pytest.raises(windlass.exception.InvalidError, match="35 days"):
        list(app.logs.fetch(before - datetime.timedelta(days=40)))
    with pytest.raises(windlass.exception.InvalidError, match="7 days"):
        app.stats(since=before - datetime.timedelta(days=8))
    with pytest.raises(windlass.exception.ExecutionError, match="no id yet"):
        list(windlass.App("never-ran").logs.tail(1))


def test_questions_about_what_does_not_exist_are_answered_with_the_next_step(stage, program):
    stage.cli("run", program("looking_back.py", JOBS), check=0)
    for arguments, code, said in (
        (("function", "info", "nothing", "-a", "test-looking-back"), 1, "It has: eat, fail, quick"),
        (("function", "stats", "fu-" + "9" * 22), 1, "no function fu-"),
        (("function", "stats", "fail", "-a", "test-looking-back", "--since", "8d"), 2, "7 days at most"),
        (("call", "info", "fc-" + "9" * 22), 1, "no call fc-"),
        (("call", "info", "nonsense"), 1, "is no call id"),
        (("app", "logs", "test-looking-back", "--function", "nothing"), 1, "no function 'nothing'"),
        (("app", "logs", "test-looking-back", "-n", "20001"), 2, "between 1 and 20,000"),
        (("app", "logs", "test-looking-back", "--since", "36d"), 2, "35 days at most"),
        (("app", "logs", "test-looking-back", "-f", "--tail", "5"), 2, "cannot be combined"),
        (("app", "logs", "test-looking-back", "--since", "1h", "--until", "2h"), 2, "ends before it begins"),
        (("container", "logs", "sb-nonsense"), 1, "is no container id"),
    ):
        ran = stage.cli(*arguments)
        assert ran.code == code, (arguments, ran.text)
        assert said in " ".join(ran.text.replace("│", " ").split()), (arguments, ran.text)


def test_what_an_app_had_of_the_machine_is_reported_to_programs_and_people(stage):
    def spin():
        import time

        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass

    app = windlass.App("test-usage")
    function = app.function(serialized=True, cpu=0.5, memory=256)(spin)
    with app.run():
        function.remote()
        app_id = app.app_id
        assert function.metrics.current().num_total_runners == 1
        assert function.metrics.fetch().inputs == 1
    until(lambda: not stage.containers(app_id), 30, "its container is gone")
    workspace = windlass.Workspace.from_context().hydrate()
    (row,) = [row for row in workspace.billing.report(resolution="total") if row.object_id == app_id]
    assert row.containers == 1 and row.cpu_seconds > 0.15 and row.used_cpu_seconds > 0.25
    assert abs(row.memory_gib_seconds - row.cpu_seconds / 2) < 0.001, "0.5 cores and 0.25 GiB for the same seconds"
    environment = windlass.Environment.from_context()
    assert app_id in [one.object_id for one in environment.billing.report()]
    assert app_id in [one.app_id for one in environment.apps.list()]
    (shown,) = [one for one in stage.json("billing", "report") if one["app_id"] == app_id]
    assert (shown["app"], shown["containers"]) == ("test-usage", 1)
    assert "core-hours" in stage.cli("billing", "report", "--by", "h", check=0).out
    stage.cli("billing", "report", "--csv", "--json", check=2)

    assert workspace.name == "local" == workspace.settings.list()["name"]
    token_id, secret = workspace.proxy_tokens.create("for a test", environments=["main"])
    (token,) = [one for one in workspace.proxy_tokens.list() if one.token_id == token_id]
    assert token.scoped and token.name == "for a test" and secret
    workspace.proxy_tokens.delete(token_id)
    assert token_id not in [one.token_id for one in workspace.proxy_tokens.list()]
