"""A flipped bit in what is stored of a volume: found, named, and shown to nobody."""

from __future__ import annotations

import contextlib
import io
import os
import time
import uuid
from pathlib import Path

import pytest

import windlass


@pytest.fixture
def volume():
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    windlass.Volume.objects.delete(name, allow_missing=True)


def put(volume, path, data):
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(data), path)


def flip(stage, mark: bytes):
    """A bit of the stored file that holds ``mark``; its times stay what they were."""
    [file] = [path for layer in (stage.home / "volumes").glob("vl-*") for path in _holding(layer, mark)]
    before = file.stat()
    with file.open("r+b") as target:
        target.seek(1000)
        byte = target.read(1)[0]
        target.seek(1000)
        target.write(bytes([byte ^ 0x10]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _holding(layer, mark: bytes):
    """Files of a layer with ``mark``; one of another test's volumes may go away meanwhile."""
    for folder, _, names in os.walk(layer / "files"):
        for path in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and mark in path.read_bytes():
                    yield path


def read(path):
    return len(open(path, "rb").read())


def hold(path, ready):
    windlass.Queue.from_id(ready).put(len(open(path, "rb").read()))
    open(path, "rb").read()
    time.sleep(120)


def test_a_container_that_shows_a_flipped_bit_is_ended_when_it_is_found(stage, volume):
    mark = uuid.uuid4().hex.encode()
    put(volume, "models/weights", mark * 100_000)
    app = windlass.App("test-volume-check-running")
    holding = app.function(serialized=True, volumes={"/data": volume}, retries=0)(hold)
    with windlass.Queue.ephemeral() as ready, app.run():
        began = time.monotonic()
        call = holding.spawn("/data/models/weights", ready.object_id)
        assert ready.get(timeout=60) == len(mark) * 100_000
        flip(stage, mark)
        assert stage.cli("volume", "check", volume.name, check=1).code == 1
        with pytest.raises(windlass.exception.Error, match="models/weights"):
            call.get(timeout=60)
        assert time.monotonic() - began < 100, "it was not let run to its end"
        assert ready.len() == 0, "no other container read it"


def test_a_flipped_bit_is_found_named_and_served_to_nobody_until_the_file_is_put_again(stage, volume, tmp_path):
    mark = uuid.uuid4().hex.encode()
    put(volume, "models/weights", mark * 100_000)
    put(volume, "fine", b"fine")
    said = stage.cli("volume", "check", volume.name, check=0).out
    assert f"Volume {volume.name} is whole" in said
    odd = uuid.uuid4().hex.encode()
    put(volume, "odd-\udcff\n", odd * 100)
    flip(stage, odd)
    ran = stage.cli("volume", "get", volume.name, "/", str(tmp_path / "all"))  # small files, many at once
    assert ran.code != 0 and "odd-" in ran.err and "damaged" in ran.err
    assert not [path for path in (tmp_path / "all").iterdir() if "odd" in path.name or "part" in path.name]
    assert "odd-?" in stage.cli("volume", "check", volume.name, check=1).out
    volume.remove_file("odd-\udcff\n")
    assert f"Volume {volume.name} is whole" in stage.cli("volume", "check", volume.name, check=0).out
    flip(stage, mark)
    ran = stage.cli("volume", "check", volume.name, check=1)
    assert "models/weights" in ran.out and "no longer what was committed" in ran.err

    found = {one["name"]: one for one in stage.json("doctor")["findings"]}["volumes"]
    assert found["state"] == "limited" and "models/weights" in found["detail"]

    app = windlass.App("test-volume-check")
    reading = app.function(serialized=True, volumes={"/data": volume}, retries=0)(read)
    with app.run(), pytest.raises(windlass.exception.Error, match="models/weights") as refused:
        reading.remote("/data/models/weights")
    assert "damaged" in str(refused.value)
    ran = stage.cli("volume", "get", volume.name, "models/weights", str(tmp_path / "got"))
    assert ran.code != 0 and "models/weights" in ran.err and not (tmp_path / "got").exists()
    assert stage.cli("volume", "get", volume.name, "fine", "-", check=0).out == "fine"
    assert stage.cli("volume", "ls", volume.name, "models", check=0).out.split() == ["models/weights"]

    put(volume, "models/weights", mark * 10)
    assert "is whole" in stage.cli("volume", "check", volume.name, check=0).out
    reading = windlass.App("test-volume-check-2")
    healed = reading.function(serialized=True, volumes={"/data": volume})(read)
    with reading.run():
        assert healed.remote("/data/models/weights") == len(mark) * 10
