"""A platform whose blobs are kept in a bucket: large values, a killed server, a bucket out of reach."""

from __future__ import annotations

import hashlib
import os
import shutil
import time

import pytest

import objects
import stage as stages
import windlass


@pytest.fixture
def bucket():
    server = objects.S3()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def elsewhere(stage, bucket):
    """The platform of the session, with its blobs in the bucket for some time."""
    prefix = f"s3://{objects.BUCKET}/{os.urandom(4).hex()}"
    stage.stop()
    other = stages.Stage(stage.home, **bucket.variables, WINDLASS_SERVER_OBJECTS=prefix)
    try:
        other.start()
        yield other
    finally:
        other.stop()
        stage.start()


def twisted(data):
    return data[::-1]


def grown(size):
    return b"x" * size


def test_large_values_are_kept_in_the_bucket_through_a_killed_server_and_their_loss_is_told(elsewhere, bucket):
    app = windlass.App("test-objects")
    work = app.function(serialized=True)(twisted)
    large = app.function(serialized=True, retries=0)(grown)
    with app.run():
        assert large.remote(1) == b"x"
        value = os.urandom(5_000_000)
        assert work.remote(value) == value[::-1]
        kept = {path.name for path in (elsewhere.home / "blobs" / "kept").iterdir()}
        assert len(kept) >= 3, "function, argument and result"

        values = [os.urandom(2_000_000) for _ in range(8)]
        results = work.map(values)
        first = next(iter(results))
        elsewhere.kill("server")
        assert [first, *results] == [one[::-1] for one in values]

        for copy in (elsewhere.home / "blobs").glob("??/*"):
            if (elsewhere.home / "blobs" / "kept" / copy.name).exists():
                copy.unlink(missing_ok=True)  # the platform clears up, too
        assert work.remote(value) == value[::-1], "told that it is there, and brought from the bucket"
        copies = list((elsewhere.home / "blobs").glob("??/*"))
        assert copies and all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in copies)

        bucket.stop()
        began = time.monotonic()
        with pytest.raises(windlass.exception.InternalFailure, match="cannot be used"):
            work.remote(os.urandom(3_000_000))
        assert time.monotonic() - began < 60
        assert work.remote(b"small") == b"llams"
        began = time.monotonic()
        with pytest.raises(windlass.exception.InternalFailure, match="cannot be used"):
            large.remote(3_000_000)
        assert time.monotonic() - began < 60
        assert large.remote(3) == b"xxx"


def noted(volume_id, name, text, until=""):
    """Write, commit, and say what came of it; with ``until`` only when that is there."""
    import os
    import pathlib
    import time

    volume = windlass.Volume.from_id(volume_id)
    pathlib.Path("/data", name).write_text(text)
    if text == "second":
        os.unlink("/data/first")
    try:
        volume.commit()
    except Exception as exc:
        said = f"{type(exc).__name__}: {exc}"
    else:
        said = ""
    deadline = time.monotonic() + 60
    while until and not os.path.exists(until) and time.monotonic() < deadline:
        time.sleep(0.2)
    return said, sorted(os.listdir("/data"))


def _lose_layers(platform) -> None:
    """The disk of the worker is a new one."""
    platform.stop()
    for layer in (platform.home / "volumes").glob("vl-*"):
        shutil.rmtree(layer)
    assert not list((platform.home / "volumes").glob("vl-*")), "somebody still makes layers"
    platform.start()


def test_commits_of_volumes_are_in_the_bucket_and_come_back_when_the_disk_has_lost_them(elsewhere, bucket, tmp_path):
    name = f"elsewhere-{os.urandom(4).hex()}"
    volume = windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    app = windlass.App("test-volumes-elsewhere")
    work = app.function(serialized=True, volumes={"/data": volume}, single_use_containers=True)(noted)
    with app.run():
        (tmp_path / "big").write_bytes(os.urandom(3_000_000))
        elsewhere.cli("volume", "put", name, str(tmp_path / "big"), "/sub/big", check=0)
        assert work.remote(volume.object_id, "first", "first") == ("", ["first", "sub"])
        assert work.remote(volume.object_id, "other", "second") == ("", ["other", "sub"])
        _lose_layers(elsewhere)
        elsewhere.cli("volume", "get", name, "/sub/big", str(tmp_path / "back"), check=0)
        assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()
        assert sorted(entry.path for entry in volume.iterdir("/")) == ["other", "sub", "sub/big"]
        _lose_layers(elsewhere)
        assert work.remote(volume.object_id, "third", "third") == ("", ["other", "sub", "third"])
        elsewhere.cli("volume", "restore", name, "2", "--yes", check=0)
        assert b"".join(volume.read_file("first")) == b"first"

        bucket.stop()
        said, _ = work.remote(volume.object_id, "late", "late")
        assert said.startswith("InternalFailure") and "cannot be used" in said
        assert "late" not in [entry.path for entry in volume.iterdir("/")]
    stages.until(lambda: not list((elsewhere.home / "packs").iterdir()), what="no archive left")
    elsewhere.cli("volume", "delete", name, "--yes", check=0)
