"""What `windlass serve` takes for a change of the program."""

from __future__ import annotations

import time

import pytest

from windlass.cli import serve


@pytest.fixture
def program(tmp_path):
    """A file and a folder that an app is made of."""
    (tmp_path / "data/sub").mkdir(parents=True)
    for name in ("app.py", "other.py", "data/text", "data/sub/text"):
        (tmp_path / name).write_text("")
    (tmp_path / "data/broken").symlink_to("nowhere")
    time.sleep(0.05)  # longer than the steps in which files are given their times
    return tmp_path


def serving(folder, seconds: float) -> serve.Serving:
    watched = {"files": [str(folder / "app.py")], "trees": [str(folder / "data")]}
    return serve.Serving(None, watched, time.time_ns(), time.monotonic() + seconds)


@pytest.mark.parametrize("name", ["app.py", "data/text", "data/sub/text"])
def test_what_was_saved_between_the_load_and_the_watch_is_loaded_once(program, name):
    served = serving(program, 3)
    (program / name).write_text("changed while the app was published")
    changes = served._changes()
    assert next(changes) == [str(program / name)]
    assert next(changes, None) is None


def test_what_was_removed_then_is_noticed_by_its_folder(program):
    served = serving(program, 3)
    (program / "data/text").unlink()
    assert next(served._changes()) == [str(program / "data")]


def test_what_nobody_changed_and_what_is_not_ours_is_not_loaded_again(program):
    served = serving(program, 1.5)
    (program / "other.py").write_text("not of the app")
    assert list(served._changes()) == []


def test_files_of_a_system_whose_clock_is_ahead_are_loaded_once(program):
    served = serving(program, 1.5)
    served._began -= 3600 * 10**9
    assert len(served._missed()) == 5 and served._missed() == set()
