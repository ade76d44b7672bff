"""Running failed inputs again: in a container, on this machine, in the debugger."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

import stage as stages
import windlass

BROKEN = """
import os
import modal
import replay_helper_module as helper

image = modal.Image.debian_slim().add_local_python_source("replay_helper_module")
app = modal.App("test-replay", image=image)

@app.function(retries=2)
def divide(a: int, b: int):
    quotient_of = (a, b)
    print("dividing in", "a container" if not modal.is_local() else "this process", helper.VERSION)
    return a / b

@app.function()
def ask(x: int):
    return divide.local(x, 0) if x < 0 else divide.remote(x, 0)

@app.cls()
class Scale:
    by: int = modal.parameter()

    @modal.enter()
    def begin(self):
        self.ready = "ready"

    @modal.method()
    def apply(self, xs):
        print(self.ready, self.by)
        return [x // self.by for x in xs]

@app.local_entrypoint()
def main():
    for function, arguments in ((divide, (6, 0)), (Scale(by=0).apply, ([1, 2],)), (ask, (5,))):
        call = function.spawn(*arguments)
        try:
            call.get()
        except ZeroDivisionError:
            print(f"FAILED {call.object_id}")
    good = divide.spawn(6, 3)
    good.get()
    print(f"GOOD {good.object_id}")
"""


@pytest.fixture(scope="module")
def failed(stage, tmp_path_factory):
    """The ids of the failed calls and of one that did not; the program is gone from where it was."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken.py").write_text(BROKEN.replace("retries=2", "retries=modal.Retries(max_retries=1)"))
    (folder / "replay_helper_module.py").write_text("VERSION = 'as it was'\n")
    ran = stage.cli("run", str(folder / "broken.py"), cwd=folder, check=0, PYTHONPATH=_path(folder))
    (folder / "broken.py").write_text("raise SystemExit('the code has changed')\n")
    (folder / "replay_helper_module.py").write_text("VERSION = 'changed'\n")
    return [*re.findall(r"FAILED (fc-\w+)", ran.out), *re.findall(r"GOOD (fc-\w+)", ran.out)]


def _path(folder) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def test_a_failed_input_runs_again_in_a_container_with_the_code_as_it_was(stage, failed):
    ran = stage.cli("call", "replay", failed[0], check=1)
    assert "dividing in a container as it was" in ran.text
    assert "ZeroDivisionError: division by zero" in ran.err and "return a / b" in ran.err
    new = re.search(rf"input 0 of {failed[0]} again as (fc-\w+)", ran.text).group(1)
    records = stage.json("call", "info", new)
    assert [r["status"] for r in records] == ["failure"], "one try, whatever the policy of the original"
    assert len(stage.json("call", "info", failed[0])) == 2, "the original stays as it is"


def test_a_method_runs_again_with_its_parameters_and_hooks_in_a_container_and_here(stage, failed):
    for where in ((), ("--local",)):
        ran = stage.cli("call", "replay", failed[1], *where, check=1)
        assert "ready 0" in ran.text and "x // self.by" in ran.err


DEPLOYED = """
import modal
import replay_deployed_helper as helper

app = modal.App("test-replay-deployed")

@app.function(image=modal.Image.debian_slim().add_local_python_source("replay_deployed_helper"))
def fragile(x):
    print("this is", helper.VERSION)
    return 1 // (x - helper.BAD)
"""


def test_a_call_of_a_version_that_was_replaced_runs_again_with_that_version(stage, tmp_path):
    (tmp_path / "deployed.py").write_text(DEPLOYED)
    failed = []
    for version, bad in (("the first", 1), ("the second", 2)):
        (tmp_path / "replay_deployed_helper.py").write_text(f"VERSION = {version!r}\nBAD = {bad}\n")
        stage.cli("deploy", str(tmp_path / "deployed.py"), cwd=tmp_path, check=0, PYTHONPATH=_path(tmp_path))
        fragile = windlass.Function.from_name("test-replay-deployed", "fragile")
        stages.until(lambda f=fragile, x=bad: _fails(f, x), what=f"{version} answers")  # old ones may serve a while
        call = fragile.spawn(bad)
        with pytest.raises(ZeroDivisionError):
            call.get(timeout=60)
        failed.append(call.object_id)
    for call_id, version in zip(failed, ("the first", "the second"), strict=True):
        assert f"this is {version}" in stage.cli("call", "replay", call_id, check=1).text
        assert f"this is {version}" in stage.cli("call", "replay", "--local", call_id, check=1).text
    windlass.App.lookup("test-replay-deployed").stop()


def _fails(function, x: int) -> bool:
    try:
        function.remote(x)
    except ZeroDivisionError:
        return True
    return False


def test_functions_that_the_replayed_one_calls_are_there(stage, failed):
    ran = stage.cli("call", "replay", failed[2], check=1)
    assert "dividing in a container as it was" in ran.text and "ZeroDivisionError" in ran.err


def test_a_failed_input_runs_again_here_from_its_recorded_files(stage, failed):
    ran = stage.cli("call", "replay", failed[0], "--local", check=1)
    assert "dividing in this process as it was" in ran.out
    assert "ZeroDivisionError: division by zero" in ran.err and "return a / b" in ran.err
    assert "windlass/cli" not in ran.err


def test_what_cannot_be_replayed_says_why(stage, failed):
    for arguments, code, said in (
        ((failed[3],), 1, "did not fail"),
        ((failed[0], "--index", "4"), 1, "has no input 4"),
        (("fc-" + "9" * 22,), 1, "no call fc-"),
        (("fu-nonsense",), 1, "is no call id"),
        ((failed[0], "--index", "-1"), 2, "not in the range"),
    ):
        ran = stage.cli("call", "replay", *arguments)
        assert ran.code == code and said in " ".join(ran.text.replace("│", " ").split()), (arguments, ran.text)


class Keyboard:
    """A command on a terminal of its own."""

    def __init__(self, stage, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*stages.COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd="/",
            env={**stage.environment, "TERM": "xterm"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def expect(self, text: str, seconds: float = 60.0) -> str:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        assert text in self.seen, self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.master, text.encode() + b"\n")

    def __enter__(self) -> Keyboard:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def test_debug_opens_the_debugger_where_the_exception_was_raised(stage, failed):
    with Keyboard(stage, "call", "replay", failed[0], "--debug") as keyboard:
        assert "ZeroDivisionError" in keyboard.expect("(Pdb) ")
        keyboard.type("p quotient_of")
        keyboard.expect("(6, 0)")
        keyboard.expect("(Pdb) ")
        keyboard.type("q")
        assert keyboard.process.wait(30) == 1


def test_step_opens_the_debugger_where_the_function_begins(stage, failed):
    with Keyboard(stage, "call", "replay", failed[0], "--step") as keyboard:
        assert "quotient_of = (a, b)" in keyboard.expect("(Pdb) ")
        keyboard.type("!b = 4")
        keyboard.expect("(Pdb) ")
        keyboard.type("c")
        keyboard.expect("It returned 1.5")
        assert keyboard.process.wait(30) == 0
