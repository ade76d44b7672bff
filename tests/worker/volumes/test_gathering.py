"""Many small files of a volume, read and compared at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from windlass import exception
from windlass.wire import payload
from windlass.worker.volumes import layers, reading, sending


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
