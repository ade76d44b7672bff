"""Trees of local files: exactly what the manifest says, and nothing outside of them."""
from __future__ import annotations

import asyncio
import hashlib
import json
import os

import pytest

from windlass import exception
from windlass.worker import mounts


@pytest.fixture
def store(tmp_path):
    def put(data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = tmp_path / "blobs" / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return "sha256:" + name

    return put


def manifest(store, **files):
    entries = [{"path": path, "digest": store(data), "size": len(data), "mode": 0o755} for path, data in files.items()]
    return store(json.dumps({"files": entries}).encode())


def tree(tmp_path, digest):
    return asyncio.run(mounts.Mounts(tmp_path, owner=False).tree(digest))


def test_a_manifest_becomes_a_tree_once(tmp_path, store):
    digest = manifest(store, **{"root/a.py": b"print()", "root/pkg/b.py": b""})
    made = tree(tmp_path, digest)
    assert (made / "root/a.py").read_bytes() == b"print()" and (made / "root/pkg/b.py").exists()
    assert (made / "root/a.py").stat().st_mode & 0o777 == 0o755
    assert tree(tmp_path, digest) == made
    assert [entry.name for entry in (tmp_path / "mounts").iterdir()] == [made.name]


def test_a_file_that_is_damaged_is_not_mounted_and_is_missing_then(tmp_path, store):
    digest = manifest(store, **{"root/a.py": b"print()"})
    kept = mounts.blob(tmp_path, "sha256:" + hashlib.sha256(b"print()").hexdigest())
    kept.write_bytes(b"pwint()")
    with pytest.raises(exception.DataLossError, match=r"root/a\.py"):
        tree(tmp_path, digest)
    assert not kept.exists() and not mounts.place(tmp_path, digest).exists()
    store(b"print()")
    assert (tree(tmp_path, digest) / "root/a.py").read_bytes() == b"print()"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", ".", "a\0b"])
def test_paths_that_could_leave_the_tree_are_refused_and_nothing_stays(tmp_path, store, path):
    with pytest.raises(exception.InvalidError):
        tree(tmp_path, manifest(store, **{path: b"x"}))
    assert not list((tmp_path / "mounts").iterdir())


def test_a_name_cannot_be_file_and_folder(tmp_path, store):
    with pytest.raises(exception.InvalidError):
        tree(tmp_path, manifest(store, **{"a": b"x", "a/b": b"y"}))


def test_a_blob_that_is_not_there_is_said(tmp_path, store):
    with pytest.raises(exception.NotFoundError):
        tree(tmp_path, "sha256:" + "0" * 64)
    with pytest.raises(exception.InvalidError):
        tree(tmp_path, "sha256:../../../etc/passwd")


@pytest.mark.parametrize("files", [
    None, "x", ["x"], [{"path": 5, "digest": "d"}], [{"path": "a"}],
    [{"path": "\ud800", "digest": "of x", "size": 1, "mode": 0}],
    [{"path": "a", "digest": "of x", "size": 1, "mode": "0777"}],
    [{"path": "a", "digest": "sha256:../x", "size": 1, "mode": 0}],
])  # fmt: skip
def test_a_manifest_made_by_hand_is_refused_and_leaves_nothing(tmp_path, store, files):
    text = json.dumps({"files": files}).replace("of x", store(b"x"))
    with pytest.raises(exception.InvalidError):
        tree(tmp_path, store(text.encode()))
    assert not [*tmp_path.glob("mounts/*")]


def whole(store, **parts):
    return store(json.dumps({"files": [], **parts}).encode())


def test_links_and_empty_folders_are_made(tmp_path, store):
    link = {"path": "a/l", "target": "/etc/passwd"}
    made = tree(tmp_path, whole(store, folders=["a", "b/c"], links=[link, {"path": "d/m", "target": "../b"}]))
    assert (made / "b/c").is_dir()
    assert os.readlink(made / "a/l") == "/etc/passwd" and os.readlink(made / "d/m") == "../b"


@pytest.mark.parametrize("target", ["outside", "."])
def test_nothing_is_placed_behind_a_link(tmp_path, store, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = {"path": "a", "target": str(outside) if target == "outside" else target}
    data = store(b"x")
    file = {"path": "a/b", "digest": data, "size": 1, "mode": 0o644}
    for parts in (
        {"files": [file], "links": [link]}, {"links": [link, {"path": "a/b", "target": "x"}]},
        {"folders": ["a/b"], "links": [link]}, {"links": [link, link]}, {"folders": ["../x"]},
        {"links": [{"path": "../x", "target": "y"}]}, {"links": [{"path": "x", "target": ""}]},
        {"links": [{"path": "x", "target": "a\0b"}]},
    ):  # fmt: skip
        with pytest.raises(exception.InvalidError):
            tree(tmp_path, whole(store, **parts))
    assert not list(outside.iterdir()) and not list((tmp_path / "mounts").iterdir())
