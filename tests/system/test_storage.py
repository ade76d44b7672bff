"""What the platform keeps on its disk: garbage that goes, quotas that hold, and what is told of both."""

from __future__ import annotations

import os
import time

import pytest

import windlass
from stage import until


@pytest.fixture
def volume(stage):
    name = f"storage-{os.urandom(4).hex()}"
    yield windlass.Volume.from_name(name, create_if_missing=True).hydrate(), name
    stage.cli("volume", "delete", name, "--yes", "--allow-missing", check=0)


def _aged(folder) -> None:
    """Let an hour pass for files."""
    for path in folder.glob("??/*"):
        os.utime(path, (time.time() - 3600, time.time() - 3600))


def test_an_upload_whose_program_was_killed_is_swept_and_what_is_in_use_stays(stage, volume, tmp_path):
    _, name = volume
    (tmp_path / "kept").write_bytes(os.urandom(300_000))
    stage.cli("volume", "put", name, str(tmp_path / "kept"), "/kept", check=0)
    big = tmp_path / "big"
    big.mkdir()
    for n in range(400):
        (big / f"f{n}").write_bytes(os.urandom(200_000))
    uploads = stage.home / "uploads"
    with stage.background("volume", "put", name, str(big), "/big"):  # killed at the end of the block
        until(lambda: list(uploads.glob("??/*")), what="a piece that has arrived")
    assert list(uploads.glob("??/*")), "it was faster than its killer"

    young = stage.json("storage", "gc", "--older-than", "5m")
    assert young["garbage"][0] == {"what": "uploads", "count": 0, "size": 0}
    _aged(uploads)
    _aged(stage.home / "blobs")  # of the functions and calls of this session: all of them are named
    told = stage.json("storage", "gc", "--older-than", "5m", "--dry-run")
    assert told["garbage"][0]["count"] > 0 and list(uploads.glob("??/*"))
    done = stage.json("storage", "gc", "--older-than", "5m")
    assert done["garbage"][0] == told["garbage"][0] and not list(uploads.glob("??/*"))

    assert [entry["filename"] for entry in stage.json("volume", "ls", name)] == ["kept"]
    stage.cli("volume", "put", name, str(big), "/big", check=0)
    assert len(stage.json("volume", "ls", name, "/big")) == 400
    refused = stage.cli("storage", "gc", "--older-than", "1s")
    assert refused.code == 1 and "1m" in refused.text
