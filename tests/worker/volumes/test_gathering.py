"""Many small files of a volume, read and compared at once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

import disks
from windlass import exception
from windlass.wire import payload
from windlass.worker.volumes import editing, layers, reading, sending


def unchecked(real: str, path: str, data: bytes) -> None:
    pass


def test_small_files_come_whole_and_what_is_none_or_larger_is_left(tmp_path: Path) -> None:
    view, outside = tmp_path / "view", tmp_path / "outside"
    outside.write_text("of the machine")
    (view / "folder").mkdir(parents=True)
    (view / "file").write_bytes(b"12345")
    (view / "empty").touch()
    (view / "folder/larger").write_bytes(b"123456")
    (view / "folder/link").symlink_to("../file")
    (view / "out").symlink_to(outside)
    (view / "nowhere").symlink_to("nothing")
    paths = [b"folder/larger", b"file", b"folder/link", b"empty", b"folder", b"out", b"nowhere", b"gone", b"../outside"]
    found = dict(reading.gathered(view, paths, 5, unchecked))
    assert found == {
        0: None, 1: b"12345", 2: b"12345", 3: b"", 4: None, 5: None, 6: None, 7: None, 8: None
    }  # fmt: skip


def test_what_is_given_out_is_what_was_compared_and_a_flipped_bit_is_named(tmp_path: Path) -> None:
    store = layers.Layers(tmp_path)
    with store.draft() as draft:
        for name in ("good", "bad", "unknown"):
            (draft / "files" / name).write_bytes(b"content")
        digest = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
        layer_id = store.publish(draft, {"good": (digest, 7), "bad": (digest, 7)}, puts=[], clears=[]).layer_id
    checked, view = reading.Checked(store), store.files(layer_id)
    files = reading.gathered(
        view, [b"good", b"bad"], 100, lambda real, path, data: checked.check_bytes([layer_id], real, path, data)
    )
    (view / "bad").write_bytes(b"cantent")
    assert next(files) == (0, b"content")
    with pytest.raises(exception.DataLossError, match="'bad'"):
        next(files)
    with pytest.raises(exception.DataLossError, match="'shown'"):
        checked.check_bytes([layer_id], "unknown", "shown", b"content")


def test_no_message_has_much_more_than_a_piece_of_a_file_has() -> None:
    files = iter([(number, bytes(100_000)) for number in range(30)])
    counts = []
    while batch := sending._together(files):
        counts.append(len(batch))
        assert sum(len(data or b"") for _, data in batch) < payload.CHUNK + 100_000
    assert sum(counts) == 30 and len(counts) == 3


def _lost(root: Path) -> None:
    with disks.disk(root, "ext4", "-q", "-O", "^metadata_csum") as place:
        store, data = layers.Layers(place), os.urandom(3 * reading.PIECE + 7)
        with store.draft() as draft:
            (draft / "files/file").write_bytes(data)
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            layer_id = store.publish(draft, {"file": (digest, len(data))}, puts=[], clears=[]).layer_id
        checked, file = reading.Checked(store), store.files(layer_id) / "file"
        pieces = [data[at : at + reading.PIECE] for at in range(0, len(data), reading.PIECE)]
        for number, piece in enumerate(pieces):
            checked.check([layer_id], "file", "shown")(number, piece)
        disks.flip(file, 2 * reading.PIECE + 5)
        disks.forget(file)
        check, found = checked.check([layer_id], "file", "shown"), file.read_bytes()
        assert found != data, "the disk has lost a bit, and no time tells"
        check(1, pieces[1])
        with pytest.raises(exception.DataLossError, match="'shown'"):
            check(2, found[2 * reading.PIECE : 3 * reading.PIECE])
        with pytest.raises(exception.DataLossError, match="'shown'"):
            checked.check([layer_id], "file", "shown")


def test_a_bit_that_the_disk_loses_after_a_file_was_compared_is_not_given_out(apart, tmp_path: Path) -> None:
    disks.need("filefrag")
    apart(_lost, tmp_path)


def _copied(root: Path) -> None:
    store, data = layers.Layers(root), os.urandom(100_000)
    with store.draft() as draft:
        (draft / "files/folder").mkdir()
        for name in ("good", "bad"):
            (draft / "files/folder" / name).write_bytes(data)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        index = {"folder/good": (digest, len(data)), "folder/bad": (digest, len(data))}
        layer_id = store.publish(draft, index, puts=[], clears=[]).layer_id
    (store.files(layer_id) / "folder/bad").write_bytes(b"?" + data[1:])

    def copy(*steps: tuple[str, str]) -> layers.Made:
        edit = [{"op": "copy", "sources": [source], "path": target, "recursive": True} for source, target in steps]
        return editing.edit(store, [layer_id], json.dumps(edit).encode(), root / "uploads")

    made = copy(("folder/good", "copy"), ("copy", "again"))
    assert store.index(made.layer_id) == {"copy": (digest, len(data)), "again": (digest, len(data))}
    for source in ("folder/bad", "folder"):
        with pytest.raises(exception.DataLossError, match="'folder/bad'"):
            copy((source, "elsewhere"))
    assert not list(store.root.glob(f"{layers.DRAFT}*"))


def test_a_copy_within_a_volume_makes_nothing_whole_of_what_is_damaged(apart, tmp_path: Path) -> None:
    apart(_copied, tmp_path)
