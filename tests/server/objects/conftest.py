"""Places where objects are kept: this disk, and a bucket of a real S3-speaking server on loopback."""
from __future__ import annotations

import pytest

import objects


@pytest.fixture(scope="session")
def s3():
    server = objects.S3()
    server.start()
    yield server
    server.stop()
