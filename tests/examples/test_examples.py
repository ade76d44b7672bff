"""Each example runs unmodified by ``windlass run``, from another folder, and says what it promises."""

from __future__ import annotations

import pytest

from stage import CHECKOUT

SAID = {
    "classes": ["vowels: 13 r, s and t: 11", "most often: e and t", "in this process: 1", "letters in the life of"],
    "get_started": [
        "the square of 42 in this process: 1764",
        "the square of 42 in a container:  1764",
        "sum of the squares below 20: 2470",
        "hello 0",
        "hello 18",
        "world 1",
        "world 19",
        "hello 42",
    ],
    "generator": ["collatz(27): 112 values", "1: to be", "2: or not to be"],
    "grid_search": ["C=5     gamma=0.001   accuracy 0.976"],
    "job_queue": [
        "submitted 6 jobs",
        "done: frame-0000.png",
        "done: frame-0005.png",
        "frame 3 failed after its retries: frame 3 is damaged",
    ],
    "pipeline": [" 10 the"],
}


def test_every_example_is_tested():
    assert {path.stem for path in (CHECKOUT / "examples").glob("*.py")} == set(SAID)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SAID)
def test_example(stage, name, tmp_path):
    ran = stage.cli("run", str(CHECKOUT / f"examples/{name}.py"), cwd=tmp_path, timeout=590, check=0)
    for line in SAID[name]:
        assert line in ran.text, f"{line!r} is missing in:\n{ran.text}"
    assert "Traceback" not in ran.text or name == "job_queue"  # where spawned calls fail, with nobody waiting


def test_arguments_of_an_example_come_from_its_signature(stage, tmp_path):
    path = str(CHECKOUT / "examples/get_started.py")
    ran = stage.cli("run", path, "--count", "5", cwd=tmp_path, check=0)
    assert "sum of the squares below 5: 30" in ran.out
    ran = stage.cli("run", f"{path}::square", "--x", "12", cwd=tmp_path, check=0)
    assert "hello 12" in ran.text
