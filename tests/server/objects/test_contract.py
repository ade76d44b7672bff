"""One contract, two places: what is kept stays as it was, what is not there is said, and nothing hangs."""
from __future__ import annotations

import asyncio
import os
import time
import uuid

import pytest

from windlass import exception
from windlass.server.objects import disk
from windlass.server.objects import s3 as s3_module

BUCKET = "objects"


@pytest.fixture(params=["disk", "disk that syncs", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        server = request.getfixturevalue("s3")
        return s3_module.Bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}/deep", server.variables)
    return disk.Disk(tmp_path / "objects", synchronous="syncs" in request.param)


@pytest.fixture
def file(tmp_path):
    def write(data: bytes):
        path = tmp_path / uuid.uuid4().hex
        path.write_bytes(data)
        return path

    return write


async def names(store) -> dict[str, int]:
    return {one.name: one.size async for one in store.listed()}


@pytest.mark.parametrize("size", [0, 1, 1_000_000, 30_000_000])  # the last one travels in parts
def test_what_is_kept_comes_back_as_it_was(store, file, tmp_path, size):
    async def scene():
        data = os.urandom(size)
        before = time.time()
        await store.keep("ab/abcd", file(data))
        await store.keep("ab/abcd", file(data))  # once more does no harm
        assert await store.size("ab/abcd") == size
        await store.bring("ab/abcd", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data
        place = store.place("ab/abcd")
        assert place is None or place.read_bytes() == data
        [one] = [one async for one in store.listed()]
        assert (one.name, one.size) == ("ab/abcd", size) and before - 5 <= one.at <= time.time() + 5

    asyncio.run(scene())


def test_what_is_not_there_is_said_and_removing_it_does_no_harm(store, file, tmp_path):
    async def scene():
        assert await names(store) == {} and await store.size("no") is None
        with pytest.raises(exception.NotFoundError):
            await store.bring("no", tmp_path / "back")
        await store.remove("no")
        await store.keep("a/one", file(b"1"))
        await store.keep("a/two", file(b"22"))
        await store.remove("a/one")
        assert await names(store) == {"a/two": 2} and await store.size("a/one") is None

    asyncio.run(scene())


def test_many_at_once_are_all_kept(store, file, tmp_path):
    async def scene():
        await asyncio.gather(*(store.keep(f"{n % 7}/{n}", file(str(n).encode())) for n in range(60)))
        assert len(await names(store)) == 60
        await asyncio.gather(*(store.bring(f"{n % 7}/{n}", tmp_path / f"back{n}") for n in range(60)))
        assert all((tmp_path / f"back{n}").read_text() == str(n) for n in range(60))

    asyncio.run(scene())


@pytest.mark.parametrize("trouble", ["nobody listens", "nobody answers", "no such bucket"])
def test_a_bucket_that_cannot_be_used_is_an_error_in_time(s3, file, tmp_path, monkeypatch, trouble):
    import socket

    monkeypatch.setattr(s3_module, "_PATIENCE", 1.0)
    silent = socket.create_server(("127.0.0.1", 0))
    if trouble == "nobody listens":
        silent.close()
    variables, bucket = dict(s3.variables), BUCKET
    if trouble == "no such bucket":
        bucket = "not-a-bucket"
    elif trouble == "nobody answers":
        variables["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
    else:
        variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"

    async def scene():
        store = s3_module.Bucket(f"s3://{bucket}", variables)
        for work in (store.keep("a", file(b"1")), store.size("a"), store.bring("a", tmp_path / "x"), names(store)):
            if trouble == "no such bucket" and work.__name__ == "size":
                assert await work is None
                continue
            with pytest.raises((exception.InternalFailure, exception.NotFoundError)) as caught:
                await work
            assert bucket in str(caught.value) and s3.variables["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)

    began = time.monotonic()
    asyncio.run(scene())
    assert time.monotonic() - began < 60
    silent.close()


@pytest.mark.parametrize("url", ["", "s3://", "http://bucket", "s3://UPPER", "s3://b/../x y", "/a/folder"])
def test_what_is_no_place_for_objects_is_refused(url):
    with pytest.raises(exception.InvalidError, match="s3://bucket"):
        s3_module.Bucket(url, {})
