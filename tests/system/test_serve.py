"""`windlass serve`: saved code answers soon, what did not change goes on, what is wrong harms nobody."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

import windlass
from stage import until

SOURCE = """
import os
import modal

value = ""
if modal.is_local():
    import settings
    value = settings.VALUE

app = modal.App("test-serve", image=modal.Image.debian_slim().add_local_dir("data", "/data"))

@app.function()
def code():
    print("asked")
    return {value}

@app.function()
def data():
    with open("/data/text") as file:
        return file.read()

@app.function(serialized=True, image=modal.Image.debian_slim(), env={{"SETTING": value}}, scaledown_window=600)
def setting():
    return os.environ["SETTING"], os.environ["MODAL_TASK_ID"]

@app.cls()
class Model:
    size: int = modal.parameter(default=1)

    @modal.method()
    def code(self):
        return {value}, self.size

@app.function()
def through():
    return Model(size=5).code.remote()
"""


class Served:
    def __init__(self, stage, process, path: Path, before: set[str]) -> None:
        """``before``: apps of earlier programs, which may still be ending."""
        self.stage, self.process, self.path = stage, process, path
        (self.app_id,) = until(lambda: {app["app_id"] for app in stage.apps("test-serve")} - before, 60)
        self.functions = until(self._functions, 60, "its functions are there")

    def _functions(self) -> dict[str, str]:
        return self.stage.json("app", "info", self.app_id)["functions"]

    def ask(self, name: str):
        return windlass.Function.from_id(self.functions[name]).remote()

    def write(self, value: object) -> None:
        self.path.write_text(SOURCE.format(value=value))

    def reaches(self, name: str, value: object, seconds: float = 60) -> None:
        until(lambda: self.ask(name) == value, seconds, f"{name} answers {value}")


@pytest.fixture
def serve(stage, tmp_path):
    """``with serve(*options) as served``: a program that is served from its folder."""

    @contextlib.contextmanager
    def serve(*options: str):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "text").write_text("first")
        (tmp_path / "settings.py").write_text('VALUE = "one"\n')
        path = tmp_path / "served.py"
        path.write_text(SOURCE.format(value=0))
        before = {app["app_id"] for app in stage.apps("test-serve")}
        with stage.background("serve", *options, "served.py", cwd=tmp_path) as process:
            yield Served(stage, process, path, before)

    return serve


def test_what_is_saved_answers_and_what_did_not_change_goes_on(serve):
    with serve() as served:
        assert (served.ask("code"), served.ask("through"), served.ask("data")) == (0, (0, 5), "first")
        value, container = served.ask("setting")
        assert value == "one"
        for value in (1, 2, 3):
            served.write(value)
            served.reaches("code", value)
        served.reaches("through", (3, 5))
        assert served.ask("setting") == ("one", container), "its container went on"
        (served.path.parent / "data" / "text").write_text("second")
        served.reaches("data", "second")
        (served.path.parent / "data" / "new").mkdir()
        (served.path.parent / "settings.py").write_text('VALUE = "two"\n')
        until(lambda: served.ask("setting")[0] == "two", 60, "a module that only this machine imports counts, too")
        served.process.send_signal(signal.SIGINT)
        output, _ = served.process.communicate(timeout=30)
        assert served.process.returncode == 0 and "asked" in output and "reloaded" in output.lower()
    until(lambda: served.stage.apps("test-serve")[0]["state"] == "stopped", 30, "the app has ended with its command")


def test_while_a_change_cannot_be_loaded_the_version_before_goes_on(serve):
    with serve() as served:
        assert served.ask("code") == 0
        lines = iter(served.process.stdout.readline, "")
        for wrong, said in (
            ("def broken(:\n", "SyntaxError"),
            ("raise RuntimeError('at import')\n", "at import"),
            (SOURCE.format(value=1).replace("debian_slim()", "debian_slim().run_commands('exit 9')"), "exit 9"),
            ("x = 1\n", "has no app"),
            ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
            ("import os\nos.kill(os.getpid(), 9)\n", ""),
        ):
            served.path.write_text(wrong)
            seen = ""
            for line in lines:
                seen += line
                if "version before goes on" in line and said in seen:  # a file may be seen half written, and twice
                    break
            assert said in seen
            assert served.ask("code") == 0
        served.write(5)
        served.reaches("code", 5)


def test_a_program_whose_import_hangs_can_be_interrupted(serve):
    with serve() as served:
        served.path.write_text("import time\nprint('hanging', flush=True)\ntime.sleep(600)\n")
        assert any("hanging" in line for line in iter(served.process.stdout.readline, ""))
        served.process.send_signal(signal.SIGINT)
        served.process.communicate(timeout=30)
        assert served.process.returncode == 0


def test_it_ends_by_itself_after_its_timeout(serve):
    with serve("--timeout", "4", "-n", "test-serve") as served:
        served.process.communicate(timeout=40)
        assert served.process.returncode == 0


def test_what_cannot_be_served_is_refused(stage, program):
    broken = program("serve_broken.py", "def broken(:\n")
    assert "SyntaxError" in stage.cli("serve", broken, check=1).err
    assert "no app" in stage.cli("serve", program("serve_none.py", "x = 1\n"), check=1).err
    unbuilt = program(
        "serve_unbuilt.py",
        'import modal\napp = modal.App("test-unbuilt", image=modal.Image.debian_slim().run_commands("exit 9"))\n'
        "@app.function()\ndef f(): ...\n",
    )
    assert "exit 9" in stage.cli("serve", unbuilt, check=1).err
    assert stage.apps("test-unbuilt")[0]["state"] in ("stopping", "stopped")
    stage.cli("serve", "-", check=1)
    stage.cli("serve", unbuilt, "--timeout", "0", check=2)
    stage.cli("serve", "no/such/file.py", check=1)
