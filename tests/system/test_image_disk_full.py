"""A step that would fill the disk is stopped before it is full; what was there stays whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stage import Stage, on_a_small_disk, until

PROGRAM = """
import modal
app = modal.App("test-disk", image=modal.Image.debian_slim().run_commands({command!r}))

@app.function()
def f(): return open("/made").read()

@app.local_entrypoint()
def main(): print("MADE", f.remote())
"""


@pytest.fixture
def small(stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """A platform on a disk of 2 GiB that has the base already."""
    with on_a_small_disk(stage.base(), tmp_path, 2 * 2**30) as platform:
        yield platform


def _write(folder: Path, name: str, command: str) -> str:
    path = folder / name
    path.write_text(PROGRAM.format(command=command))
    return str(path)


def test_a_step_that_fills_the_disk_is_stopped_and_everything_else_goes_on(small, tmp_path):
    before = set(os.listdir(small.home / "layers"))
    filling = _write(tmp_path, "filling.py", "echo filling-it; cat /dev/zero > /fills; echo it is full")
    ran = small.cli("run", filling, timeout=150, check=1)
    assert "the disk of Windlass' home is full" in ran.err and "filling-it" in ran.text, ran.err
    until(lambda: set(os.listdir(small.home / "layers")) == before, what="only the layers that were there")
    assert shutil.disk_usage(small.home).free > 400 * 2**20
    assert "MADE fine" in small.cli("run", _write(tmp_path, "good.py", "echo fine > /made"), check=0).out
