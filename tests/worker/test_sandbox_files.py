"""The file API on a tree, without a container: this machine's own files must stay out of reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.sandboxes import files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files.spec, "OWNER", os.getuid())
    tree = tmp_path / "root"
    (tree / "etc").mkdir(parents=True)
    (tmp_path / "outside").write_text("host")
    return tree


def act(root: Path, op: str, path: str, data: bytes = b"", **more):
    return files.answer(root, {"sandbox_id": "ta", "op": op, "path": path, **more}, data)


def test_writing_makes_folders_and_replaces_and_appends_and_updates(root):
    act(root, "write", "/a/b/c", b"hello", parents=True)
    act(root, "write", "/a/b/c", b"J", mode="update", offset=0)
    reply, _ = act(root, "write", "/a/b/c", b"!", mode="append")
    assert reply["total"] == 6
    assert act(root, "read", "/a/b/c")[1] == b"Jello!"
    assert act(root, "read", "/a/b/c", offset=4, size=1)[1] == b"o"
    with pytest.raises(exception.SandboxFilesystemPathAlreadyExistsError):
        act(root, "write", "/a/b/c", b"", mode="create")
    with pytest.raises(exception.SandboxFilesystemNotFoundError):
        act(root, "write", "/a/none", b"x", mode="update")


@pytest.mark.parametrize("target", ["../../outside", "/../../outside", "../outside"])
def test_links_that_lead_out_lead_to_the_root_instead(root, target):
    (root / "link").symlink_to(target)
    with pytest.raises(exception.SandboxFilesystemNotFoundError):
        act(root, "read", "/link")
    act(root, "write", "/fresh", b"x")
    with pytest.raises(exception.SandboxFilesystemError):
        act(root, "write", "/link", b"x", mode="update")
    assert (root.parent / "outside").read_text() == "host"
    act(root, "remove", "/link")
    assert not (root / "link").is_symlink()


def test_removing_a_tree_removes_links_and_not_what_they_lead_to(root):
    (root / "tree/inner").mkdir(parents=True)
    (root / "tree/out").symlink_to(root.parent)
    (root / "tree/inner/file").write_text("x")
    with pytest.raises(exception.SandboxFilesystemDirectoryNotEmptyError):
        act(root, "remove", "/tree")
    act(root, "remove", "/tree", recursive=True)
    assert not (root / "tree").exists() and (root.parent / "outside").exists()


def test_only_plain_files_are_opened(root):
    os.mkfifo(root / "pipe")
    with pytest.raises(exception.SandboxFilesystemError, match="not a file"):
        act(root, "read", "/pipe")
    with pytest.raises(exception.SandboxFilesystemIsADirectoryError):
        act(root, "read", "/etc")
    with pytest.raises(exception.SandboxFilesystemIsADirectoryError):
        act(root, "write", "/", b"x")


@pytest.mark.parametrize("path", ["relative", "", "/a\0b", "/" + "x" * 5000])
def test_paths_that_are_none_are_refused(root, path):
    with pytest.raises(exception.InvalidError):
        act(root, "read", path)
    with pytest.raises(exception.UnimplementedError):
        act(root, "format", "/")


def test_a_listing_says_what_is_there(root):
    (root / "etc/file").write_text("abc")
    (root / "etc/link").symlink_to("file")
    entries = act(root, "list", "/etc")[0]["entries"]
    assert [(one["name"], one["kind"], one["size"], one["target"]) for one in entries] == [
        ("file", "file", 3, ""), ("link", "symlink", 4, "file")
    ]  # fmt: skip
    assert act(root, "stat", "/etc/link")[0]["entries"][0]["kind"] == "symlink"
    assert act(root, "stat", "/etc/link", follow=True)[0]["entries"][0]["kind"] == "file"
