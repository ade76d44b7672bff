"""Apps, and how their code comes into containers."""

from __future__ import annotations

import pytest

import windlass
from programs import calls


def test_an_app_that_runs_has_an_id_and_cannot_run_twice(stage):
    assert calls.app.app_id is None or calls.app.app_id.startswith("ap-")
    with calls.app.run() as app:
        assert app is calls.app and app.app_id.startswith("ap-")
        with pytest.raises(windlass.exception.InvalidError):
            with calls.app.run():
                pass
        running = stage.app_id("test-calls")
        assert running == app.app_id
    assert stage.apps("test-calls")[0]["state"] == "stopped"


def test_an_app_includes_the_functions_of_another(stage):
    first, second = windlass.App("test-first"), windlass.App("test-second")

    @second.function(serialized=True)
    def two():
        return 2

    @first.function(serialized=True)
    def one():
        return 1

    assert first.include(second) is first
    with first.run():
        assert one.remote() + two.remote() == 3


def test_functions_may_have_names_of_their_own(stage):
    app = windlass.App("test-names")

    @app.function(serialized=True, name="fancy.name-1")
    def plain():
        return 5

    with app.run():
        assert plain.remote() == 5
    with pytest.raises(windlass.exception.InvalidError):
        app.function(serialized=True, name="no/slash")(lambda: None)
    with pytest.raises(windlass.exception.InvalidError):
        windlass.App(5)


def test_two_functions_under_one_name_warn_and_the_later_wins(stage):
    app = windlass.App("test-clash")
    app.function(serialized=True, name="f")(lambda: 1)
    with pytest.warns(UserWarning, match="f"):
        later = app.function(serialized=True, name="f")(lambda: 2)
    with app.run():
        assert later.remote() == 2


def test_serialized_functions_carry_what_they_close_over(stage):
    app = windlass.App("test-closures")
    factor, table = 6, {"a": 1}

    @app.function(serialized=True)
    def multiply(x):
        return x * factor + table["a"]

    @app.function(serialized=True)
    def count(n):
        yield from range(n)

    with app.run():
        assert multiply.remote(7) == 43
        assert list(count.remote_gen(3)) == [0, 1, 2]
        assert list(multiply.map(range(3))) == [1, 7, 13]


def test_what_cannot_be_found_by_name_must_be_serialized():
    app = windlass.App("test-nested")
    with pytest.raises(windlass.exception.InvalidError, match="inside another function") as caught:

        @app.function()
        def nested():
            return 1

    assert "serialized=True" in caught.value.hint

    with pytest.raises(TypeError):

        @app.function()
        class Wrong: ...


def test_a_package_is_shipped_whole_and_run_with_m(stage, program, tmp_path):
    program("house/__init__.py", "")
    program("house/rooms/__init__.py", "NUMBER = 3\n")
    program("house/rooms/data.txt", "in the package")
    program(
        "house/tool.py",
        """
from pathlib import Path
import modal
from . import rooms
from .rooms import NUMBER

app = modal.App("test-package")

@app.function()
def look():
    return __name__, __file__, NUMBER, (Path(__file__).parent / "rooms/data.txt").exists()

@app.local_entrypoint()
def main():
    print("LOOK", *look.remote())
""",
    )
    ran = stage.cli("run", "-m", "house.tool", cwd=tmp_path, check=0)
    assert "LOOK house.tool /root/house/tool.py 3" in ran.out
    ran = stage.cli("run", "-m", "house.tool::main", cwd=tmp_path, check=0)
    assert "LOOK house.tool" in ran.out
    ran = stage.cli("run", "house.tool", cwd=tmp_path)
    assert ran.code != 0 and "-m" in ran.err


def test_import_modal_means_windlass_on_both_sides_with_its_submodules(stage, program):
    ran = stage.cli(
        "run",
        program(
            "names.py",
            """
import modal
import modal.exception
from modal import App, Image, Secret, Retries, FunctionCall, is_local
from modal.exception import InvalidError, NotFoundError
import windlass

app = App("test-modal-name")

def same():
    import modal, modal.exception, modal.image, windlass, windlass.exception
    return modal.App is windlass.App and modal.exception.InvalidError is windlass.exception.InvalidError

@app.function()
def there():
    return same()

@app.local_entrypoint()
def main():
    print("SAME", same(), there.remote())
""",
        ),
        check=0,
    )
    assert "SAME True True" in ran.out


def test_a_script_may_run_its_app_itself(stage, program):
    """``with app.run()`` in a plain script, by the ordinary interpreter."""
    import subprocess
    import sys

    path = program(
        "plain.py",
        """
import windlass

app = windlass.App("test-plain-script")

@app.function()
def f(x):
    print("printed in the container")
    return x + 1

if __name__ == "__main__":
    with app.run():
        print(f.remote(1))
    with windlass.enable_output():
        with app.run():
            print(f.remote(2))
""",
    )
    done = subprocess.run([sys.executable, path], env=stage.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2\n") and "3" in done.stdout
    assert (done.stdout + done.stderr).count("printed in the container") == 1, "without enable_output it is quiet"


def test_running_an_app_while_its_module_is_imported_is_refused(stage, program):
    ran = stage.cli(
        "run",
        program(
            "early.py",
            """
import modal
app = modal.App("test-early")

@app.function()
def f(): ...

with app.run():
    f.remote()
""",
        ),
    )
    assert ran.code == 1 and "import" in ran.err.lower()


def test_what_is_not_deployed_is_not_found(stage):
    handle = windlass.Function.from_name("no-such-app", "no-such-function")
    with pytest.raises(windlass.exception.NotFoundError, match="no-such-app"):
        handle.remote()
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.Function.from_name("no-such-app", "f").hydrate()
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.FunctionCall.from_id("fc-" + "0" * 22).get(timeout=0)


def test_app_wide_image_and_secrets_hold_for_every_function(stage):
    def look():
        import os

        return os.environ["WIDE"], open("/wide").read().strip()

    app = windlass.App(
        "test-wide",
        image=windlass.Image.debian_slim().run_commands("echo image > /wide"),
        secrets=[windlass.Secret.from_dict({"WIDE": "secret"})],
    )
    handle = app.function(serialized=True)(look)
    with app.run():
        assert handle.remote() == ("secret", "image")
