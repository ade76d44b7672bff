"""Folders of an overlay's lower layers are renamed as others are."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from windlass.runner import renaming


@pytest.fixture
def rename(monkeypatch):
    """Of a kernel that moves no folders with files in them."""
    kernel = os.rename

    def refusing(src, dst, *, src_dir_fd=None, dst_dir_fd=None) -> None:
        if os.path.isdir(src) and not os.path.islink(src) and os.listdir(src):
            raise OSError(errno.EXDEV, "Invalid cross-device link", os.fspath(src), None, os.fspath(dst))
        kernel(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    made = renaming.made(refusing)
    monkeypatch.setattr(os, "rename", made)
    return made


def test_a_folder_arrives_with_all_that_is_in_it(rename, tmp_path):
    (tmp_path / "draft" / "deep").mkdir(parents=True)
    (tmp_path / "draft" / "deep" / "weights").write_text("w")
    (tmp_path / "draft" / "link").symlink_to("deep/weights")
    (tmp_path / "draft").chmod(0o711)
    (tmp_path / "done").mkdir()  # an empty one gives way
    (tmp_path / "draft").rename(tmp_path / "done")
    assert not (tmp_path / "draft").exists()
    assert (tmp_path / "done" / "link").read_text() == "w" and (tmp_path / "done" / "link").is_symlink()
    assert (tmp_path / "done").stat().st_mode & 0o777 == 0o711
    shutil.move(tmp_path / "done", tmp_path / "moved")
    assert (tmp_path / "moved" / "deep" / "weights").read_text() == "w"


def test_what_no_rename_would_do_is_refused_and_changes_nothing(rename, tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        os.rename(tmp_path / "here", tmp_path / "there")
    monkeypatch.setattr(renaming, "_is_folder_of_one_mount", lambda src, dst: False)
    with pytest.raises(OSError, match="cross-device"):
        os.rename(tmp_path / "here", tmp_path / "elsewhere")
    assert [(tmp_path / name / "file").read_text() for name in ("here", "there")] == ["here", "there"]


def test_a_folder_that_goes_to_another_mount_of_the_same_device_is_left_to_shutil(rename, tmp_path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(renaming, "_mount", lambda path, flags=0: str(path)[: len(f"{tmp_path}/one")])
    (tmp_path / "one" / "draft" / "empty").mkdir(parents=True)
    (tmp_path / "one" / "draft" / "weights").write_text("w")
    with pytest.raises(OSError, match="cross-device"):
        os.rename(tmp_path / "one" / "draft", tmp_path / "other" / "done")
    assert list((tmp_path / "other").iterdir()) == []
    shutil.move(tmp_path / "one" / "draft", tmp_path / "other" / "done")
    assert (tmp_path / "other" / "done" / "weights").read_text() == "w"
    assert not (tmp_path / "one" / "draft").exists()
