"""Whatever somebody has nested is removed, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass.kit import trees


def nested(root: Path, depth: int) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        os.symlink("/", "away", dir_fd=here)
        os.mkdir("aside", dir_fd=here)
        os.mkdir("dir", dir_fd=here)
        inner = os.open("dir", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


@pytest.mark.parametrize("depth", [3, 2500])
def test_a_tree_goes_however_deep_it_is(tmp_path, depth):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    nested(root, depth)
    trees.remove(root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"] and (outside / "kept").exists()


def test_what_is_no_folder_or_not_there_is_left_alone(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target/kept").write_text("")
    (tmp_path / "link").symlink_to("target")
    trees.remove(tmp_path / "link")
    trees.remove(tmp_path / "missing")
    assert (tmp_path / "link/kept").exists()
