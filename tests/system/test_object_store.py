"""A platform whose blobs are kept in a bucket: large values, a killed server, a bucket out of reach."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

import objects
import stage as stages
import windlass


@pytest.fixture(scope="module")
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
                copy.unlink()
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
