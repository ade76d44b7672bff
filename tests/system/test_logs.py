"""Output of containers: complete, in order, attributed, on the terminal and afterwards."""

from __future__ import annotations

import re

import windlass
from typist import Typist

MANY = """
import sys
import modal

app = modal.App("test-many-lines")

@app.function()
def chatter(n: int):
    for i in range(n):
        print(f"line {i:05} " + "x" * 40)
    sys.stdout.write("the end without a newline")

@app.local_entrypoint()
def main(n: int = 20000):
    chatter.remote(n)
"""

BOTH = """
import os, subprocess, sys
import modal

app = modal.App("test-both-streams")

@app.function(max_containers=1)
def speak(name: str):
    print(f"{name} says this")
    print(f"{name} complains", file=sys.stderr)
    os.write(1, f"{name} writes past Python\\n".encode())
    subprocess.run(["echo", f"{name} has a child"], check=True)

@app.function()
def other():
    print("somebody else")

@app.local_entrypoint()
def main():
    speak.remote("anna")
    speak.remote("otto")
    other.remote()
"""

BAR = """
import sys
import modal

app = modal.App("test-bar")
went = modal.Queue.from_name("test-bar", create_if_missing=True)

@app.function()
def bar():
    for percent in (10, 20, 100):
        sys.stderr.write(f"\\r{percent:3}%|###|")
        sys.stderr.flush()
        went.get(timeout=40)
    sys.stderr.write("\\n")
"""


def test_twenty_thousand_lines_arrive_in_order_and_none_is_lost_at_exit(stage, program):
    ran = stage.cli("run", program("many.py", MANY), check=0)
    numbers = [int(number) for number in re.findall(r"^line (\d{5}) x{40}$", ran.text, re.M)]
    assert len(numbers) == 20_000
    assert numbers == list(range(20_000))
    assert "the end without a newline" in ran.text


def test_both_streams_arrive_and_are_attributed(stage, program):
    ran = stage.cli("run", program("both.py", BOTH), check=0)
    for name in ("anna", "otto"):
        for what in ("says this", "complains", "writes past Python", "has a child"):
            assert f"{name} {what}" in ran.text
    assert "\x1e" not in ran.text
    app_id = stage.apps("test-both-streams")[0]["app_id"]
    stderr = stage.cli("app", "logs", app_id, "-s", "stderr", check=0).text.splitlines()
    assert [line for line in stderr if "complains" in line] == ["anna complains", "otto complains"]
    assert not [line for line in stderr if "says" in line or "somebody" in line]
    everything = stage.cli("app", "logs", app_id, check=0).text
    assert everything.count("says this") == 2 and "somebody else" in everything


def test_logs_are_filtered_by_call(stage, program):
    source = BOTH.replace('speak.remote("anna")', 'c = speak.spawn("anna"); c.get(); print("CALL", c.object_id)')
    ran = stage.cli("run", program("calls.py", source), check=0)
    call_id = re.search(r"CALL (fc-\w+)", ran.out).group(1)
    app_id = stage.apps("test-both-streams")[0]["app_id"]
    lines = stage.cli("app", "logs", app_id, "--function-call", call_id, check=0).text
    assert "anna says this" in lines and "anna complains" in lines
    assert "otto" not in lines and "somebody" not in lines


def test_the_last_lines_and_a_search_are_found(stage, program):
    stage.cli("run", program("many.py", MANY), "--n", "500", check=0)
    app_id = stage.apps("test-many-lines")[0]["app_id"]
    assert len(stage.cli("app", "logs", app_id, "--tail", "10", check=0).lines) in (10, 11)
    found = stage.cli("app", "logs", app_id, "--search", "line 00123", check=0).lines
    assert len(found) == 1 and found[0].startswith("line 00123")


def test_what_a_dying_container_said_is_not_lost(stage, program):
    ran = stage.cli(
        "run",
        program(
            "dying.py",
            """
import os, modal
app = modal.App("test-last-words")

@app.function()
def die():
    for i in range(1000):
        print("word", i)
    os.sys.stdout.flush()
    os._exit(3)

@app.local_entrypoint()
def main():
    die.remote()
""",
        ),
        check=1,
    )
    assert "word 999" in ran.text


UNSEEN = """
import modal

app = modal.App()

@app.function(retries=modal.Retries(max_retries=1, initial_delay=1.0))
def again():
    raise ValueError("seen by the caller")

@app.function()
def alone():
    raise KeyError("seen by nobody")

@app.local_entrypoint()
def main():
    call = alone.spawn()
    try:
        again.remote()
    except ValueError:
        pass
    try:
        call.get()
    except KeyError:
        print("both ended")
"""


def test_failures_that_no_caller_sees_are_in_the_log_and_an_app_without_a_name_is_called_like_its_file(stage, program):
    ran = stage.cli("run", program("unseen.py", UNSEEN), check=0)
    assert "again: ValueError('seen by the caller'); retry 1 of 1 in 1 s" in ran.err
    assert re.search(r"alone failed:\nTraceback .*\n.*unseen.py.*\n.*\nKeyError: 'seen by nobody'", ran.err), ran.err
    assert re.search(r"Initialized app \S*unseen\.py ", ran.err)


def test_a_bar_in_a_container_moves_on_the_terminal(stage, program):
    went = windlass.Queue.from_name("test-bar", create_if_missing=True)
    terminal = Typist(stage, "run", program("bar.py", BAR))
    try:
        for percent in (" 10%", " 20%", "100%"):
            terminal.sees(f"{percent}|###|")
            went.put(None)
        assert terminal.leaves() == 0
    finally:
        terminal.close()
    assert terminal.seen.count("100%|###|\r\n") == 1 and "20%|###|\r\n" not in terminal.seen
