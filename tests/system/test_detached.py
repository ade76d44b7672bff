"""A detached run outlives its client."""

from __future__ import annotations

import re

import windlass
from stage import until

SOURCE = """
import time
import modal

app = modal.App("test-detached")

@app.function()
def work(x: int = 3):
    time.sleep(x)
    print("worked on its own")
    return x * 2

@app.function()
def say(text: str):
    print("said on its own")
    return text

@app.local_entrypoint()
def leave():
    call = work.spawn(3)
    print("CALL", call.object_id)
"""


def test_a_spawned_call_of_a_detached_run_finishes_and_then_the_app_stops(stage, program):
    ran = stage.cli("run", "-d", program("leaving.py", SOURCE) + "::leave", check=0)
    assert "goes on until its last input has ended" in ran.text
    call = windlass.FunctionCall.from_id(re.search(r"CALL (fc-\w+)", ran.out).group(1))
    assert call.get(timeout=30) == 6
    until(lambda: stage.apps("test-detached")[0]["state"] == "stopped", 60, "it stops after its last input")
    app_id = stage.apps("test-detached")[0]["app_id"]
    assert "worked on its own" in stage.cli("app", "logs", app_id, check=0).out
    assert not stage.containers(app_id)


def test_a_function_run_detached_gives_its_result_too(stage, program, tmp_path):
    target = tmp_path / "result"
    ran = stage.cli("run", "-d", "-w", str(target), program("leaving.py", SOURCE) + "::say", "--text", "done", check=0)
    assert target.read_text() == "done" and "said on its own" in ran.text
    assert "App completed." in ran.text and "goes on" not in ran.text, "nothing of it is left to go on"
