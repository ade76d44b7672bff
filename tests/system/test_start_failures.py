"""What cannot start says so, once and clearly, and the program ends."""

from __future__ import annotations

import re

HEAD = """
import sys
import modal
app = modal.App("test-start")
"""


def run(stage, program, source: str):
    return stage.cli("run", program("starter.py", HEAD + source), timeout=60)


def test_a_module_that_fails_remotely_ends_the_run_with_its_exception_and_last_words(stage, program):
    ran = run(
        stage,
        program,
        """
if not modal.is_local():
    print("about to fail", flush=True)
    raise RuntimeError("boom at import")

@app.function()
def f(): ...

@app.local_entrypoint()
def main():
    f.remote()
""",
    )
    assert ran.code == 1
    assert "boom at import" in ran.err
    assert "about to fail" in ran.text


def test_a_local_module_that_was_not_added_is_missed_with_a_hint(stage, program):
    program("neighbour.py", "value = 1\n")
    ran = run(
        stage,
        program,
        """
import neighbour

@app.function()
def f(): return neighbour.value

@app.local_entrypoint()
def main():
    f.remote()
""",
    )
    assert ran.code == 1
    assert "neighbour" in ran.err and "ModuleNotFoundError" in ran.text
    assert "add_local_python_source" in ran.text


def test_a_function_that_is_defined_only_here_is_an_error_that_says_so(stage, program):
    ran = run(
        stage,
        program,
        """
if modal.is_local():
    @app.function()
    def f(): return 1

@app.local_entrypoint()
def main():
    f.remote()
""",
    )
    assert ran.code == 1
    assert (
        (re.search(r"'?f'?", ran.err) and "ExecutionError" in ran.text)
        or "no function" in ran.text.lower()
        or "not" in ran.err
    )


def test_a_start_that_takes_too_long_is_stopped(stage, program):
    ran = run(
        stage,
        program,
        """
import time
if not modal.is_local():
    time.sleep(100)

@app.function(startup_timeout=1)
def f(): ...

@app.local_entrypoint()
def main():
    f.remote()
""",
    )
    assert ran.code == 1
    assert "start" in ran.err.lower()


def test_a_serialized_function_needs_the_same_python(stage, program):
    ran = run(
        stage,
        program,
        """
other = "3.12" if sys.version_info[:2] != (3, 12) else "3.11"

@app.function(serialized=True, image=modal.Image.debian_slim(python_version=other))
def f(): ...

@app.local_entrypoint()
def main():
    f.remote()
""",
    )
    assert ran.code == 1
    assert "python" in ran.err.lower() and "3.1" in ran.err
