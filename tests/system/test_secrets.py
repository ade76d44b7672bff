"""Secrets reach the function's environment and nothing else that anybody could read."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from pathlib import Path

import pytest

import leftovers
import windlass
from stage import until

VALUE = "s3cret-windlass-value-in-clear"


def environment(*names: str):
    import os

    return {name: os.environ.get(name) for name in names}


def run(secrets, *names, app_secrets=(), **options):
    app = windlass.App("test-secrets", secrets=list(app_secrets))
    function = app.function(serialized=True, secrets=secrets, **options)(environment)
    with app.run():
        return function.remote(*names)


def test_secrets_from_a_dict_a_file_and_the_local_environment_arrive(stage, tmp_path, monkeypatch):
    (tmp_path / ".env").write_text('FROM_FILE="file value"\n# a remark\nexport OTHER=x\n')
    monkeypatch.setenv("FROM_HERE", "here value")
    got = run(
        [
            windlass.Secret.from_dict({"FROM_DICT": VALUE}),
            windlass.Secret.from_dotenv(str(tmp_path)),
            windlass.Secret.from_local_environ(["FROM_HERE"]),
        ],
        "FROM_DICT",
        "FROM_FILE",
        "OTHER",
        "FROM_HERE",
        "HOME_OF_CALLER",
    )
    assert got == {
        "FROM_DICT": VALUE,
        "FROM_FILE": "file value",
        "OTHER": "x",
        "FROM_HERE": "here value",
        "HOME_OF_CALLER": None,
    }


def test_the_later_secret_wins_and_env_comes_last(stage):
    got = run(
        [windlass.Secret.from_dict({"A": "1", "B": "1"}), windlass.Secret.from_dict({"B": "2", "C": "2"})],
        "A",
        "B",
        "C",
        "D",
        app_secrets=[windlass.Secret.from_dict({"A": "0", "D": "0"})],
        env={"C": "3"},
    )
    assert got == {"A": "1", "B": "2", "C": "3", "D": "0"}


def test_a_missing_local_variable_is_an_error(stage, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    with pytest.raises(windlass.exception.InvalidError, match="NOT_SET_ANYWHERE"):
        windlass.Secret.from_local_environ(["NOT_SET_ANYWHERE"])
        run([windlass.Secret.from_local_environ(["NOT_SET_ANYWHERE"])])


def test_what_is_no_secret_is_refused():
    with pytest.raises(windlass.exception.InvalidError):
        windlass.Secret.from_dict({"A": 1})
    with pytest.raises(windlass.exception.InvalidError):
        windlass.App("x").function(serialized=True, secrets={"A": "b"})(lambda: None)


def test_a_value_is_nowhere_to_be_read_in_clear(stage):
    """Neither in the platform's files and logs, nor in any command line, nor by anybody but the container's root."""
    value = uuid.uuid4().hex
    app = windlass.App("test-secret-places")

    def hold():
        import os
        import time

        time.sleep(3)
        return len(os.environ["TOKEN"])

    function = app.function(serialized=True, secrets=[windlass.Secret.from_dict({"TOKEN": value})])(hold)
    with app.run():
        call = function.spawn()
        with pytest.raises(TimeoutError):
            call.get(timeout=1.5)
        assert value not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
        assert not readable_by_others(stage.home, value)
        assert call.get() == len(value)
    stage.cli("app", "list")
    until(lambda: not leftovers.holding(stage.home, value), 60, "its container and all it had are gone")


def readable_by_others(home: Path, value: str) -> list[str]:
    """Files with the value, while the container runs, that lie open: no folder above and no mode keeps others out."""
    open_ones = []
    for name in leftovers.holding(home, value):
        path = Path(name)
        with contextlib.suppress(FileNotFoundError):  # it was there for a moment only
            closed = not path.stat().st_mode & 0o004
            closed = closed or any(
                not folder.stat().st_mode & 0o001 for folder in path.parents if home in (folder, *folder.parents)
            )
            if not closed:
                open_ones.append(name)
    return open_ones


def test_a_secret_of_a_build_step_stays_out_of_the_layer(stage):
    image = windlass.Image.debian_slim().run_commands(
        f'test "$BUILD_TOKEN" = {VALUE}-build',
        "echo built > /built.txt",
        secrets=[windlass.Secret.from_dict({"BUILD_TOKEN": f"{VALUE}-build"})],
    )
    app = windlass.App("test-build-secret", image=image)

    def look():
        import os

        return os.environ.get("BUILD_TOKEN"), open("/built.txt").read()

    function = app.function(serialized=True)(look)
    with app.run():
        assert function.remote() == (None, "built\n")
