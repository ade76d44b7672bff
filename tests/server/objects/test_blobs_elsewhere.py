"""Blobs in a bucket: kept before they are acknowledged, read from checked copies, gone when nothing names them."""
from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
import uuid

import pytest
from keyed import named
from test_containers_life import keep, until

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import sweep
from windlass.server.objects import s3 as s3_module

BUCKET = "objects"
DAY = 86400.0


@pytest.fixture
def place(s3):
    """Settings for a prefix of its own."""
    return {"objects": f"s3://{BUCKET}/{uuid.uuid4().hex}", "aws": s3.variables}


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def put(client, data: bytes) -> str:
    upload_id, size = ids.new("up"), 1 << 20
    for at in range(0, max(len(data), 1), size):
        body = {"upload_id": upload_id, "digest": digest(data), "offset": at, "last": at + size >= len(data)}
        await client.peer.request("blob.put", body, [data[at : at + size]])
    return digest(data)


async def get(client, blob: str) -> bytes:
    pieces = client.peer.stream("blob.get", {"digest": blob, "offset": 0})
    return b"".join([piece.attachments[0] async for piece in pieces])


async def objects(place) -> set[str]:
    bucket = s3_module.Bucket(place["objects"], place["aws"])
    return {"sha256:" + one.name.rpartition("/")[2] async for one in bucket.listed()}


def test_a_copy_that_is_damaged_is_brought_anew_when_somebody_got_something_else(play, place):
    data = os.urandom(3_000_000)

    async def scene(platform):
        client = await platform.client()
        blob = await put(client, data)
        platform.core.blobs.path(blob).write_bytes(bytes(len(data)))
        assert await get(client, blob) == bytes(len(data))
        pieces = client.peer.stream("blob.get", {"digest": blob, "offset": 0, "verify": True})
        assert b"".join([piece.attachments[0] async for piece in pieces]) == data == await get(client, blob)

    play(scene, **place)


def test_a_blob_is_in_the_bucket_when_it_is_acknowledged_and_comes_back_when_its_copy_is_gone(play, place):
    data = os.urandom(3_000_000)

    async def scene(platform):
        client = await platform.client()
        blob = await put(client, data)
        assert await objects(place) == {blob} and platform.core.blobs.total() == len(data)
        assert (await client.request("blob.missing", digests=[blob, digest(b"")]))["missing"] == [digest(b"")]
        platform.core.blobs.path(blob).unlink()
        assert all(one == data for one in await asyncio.gather(*(get(client, blob) for _ in range(4))))
        assert platform.core.blobs.path(blob).read_bytes() == data
        os.utime(platform.core.blobs.path(blob), (1.0, 1.0))
        platform.core.blobs.evict(len(data))
        assert platform.core.blobs.path(blob).exists()
        platform.core.blobs.evict(0)
        assert not platform.core.blobs.path(blob).exists()

    play(scene, **place)

    async def after_a_restart(platform):
        client = await platform.client()
        assert platform.core.blobs.has(digest(data)) and platform.core.blobs.size(digest(data)) == len(data)
        assert await get(client, digest(data)) == data
        d = await named(client, "dict")
        await d.change("put", b"k", value={"blob": digest(data), "size": len(data)})
        await d.change("pop", b"k")
        await d.change("pop", b"k")  # its receipt has let the value go
        await until(lambda: not platform.core.blobs.has(digest(data)))
        while await objects(place):
            await asyncio.sleep(0.05)
        with pytest.raises(exception.NotFoundError):
            await get(client, digest(data))
        assert await put(client, data) and await objects(place) == {digest(data)}

    play(after_a_restart, **place)


def test_what_the_bucket_has_changed_is_never_served(play, place, tmp_path):
    async def scene(platform):
        client = await platform.client()
        blob = await put(client, b"x" * 2_000_000)
        platform.core.blobs.path(blob).unlink()
        (tmp_path / "bad").write_bytes(b"y" + b"x" * 1_999_999)
        bucket = s3_module.Bucket(place["objects"], place["aws"])
        await bucket.keep(f"{blob[7:9]}/{blob[7:]}", tmp_path / "bad")
        with pytest.raises(exception.DataLossError, match=blob):
            await get(client, blob)
        assert not platform.core.blobs.path(blob).exists()
        assert not list((platform.home / "blobs" / "incoming").iterdir())

    play(scene, **place)


def test_a_bucket_out_of_reach_fails_uploads_in_time_and_nothing_else(play, place, monkeypatch):
    monkeypatch.setattr(s3_module, "_PATIENCE", 1.0)
    dead = {**place["aws"], "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    known = b"k" * 1_500_000

    async def before(platform):
        await put(await platform.client(), known)

    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        with pytest.raises(exception.InternalFailure, match="cannot be used"):
            await put(client, b"n" * 1_500_000)
        assert not platform.core.blobs.has(digest(b"n" * 1_500_000))
        assert not list((platform.home / "blobs" / "incoming").iterdir())
        assert await get(client, digest(known)) == known  # of its copy
        platform.core.blobs.path(digest(known)).unlink()
        with pytest.raises(exception.InternalFailure):
            await get(client, digest(known))
        with pytest.raises(exception.InternalFailure):
            await sweep.blobs(platform.core, time.time() - DAY)

    async def afterwards(platform):
        client = await platform.client()
        assert await get(client, digest(known)) == known
        await put(client, b"n" * 1_500_000)

    play(before, **place)
    play(scene, **{**place, "aws": dead})
    play(afterwards, **place)


def test_what_lay_on_the_disk_before_is_given_to_the_bucket(play, place):
    async def before(platform):
        await put(await platform.client(), b"old")

    async def scene(platform):
        assert await get(await platform.client(), digest(b"old")) == b"old"
        await sweep.keep_elsewhere(platform.core)
        assert platform.core.blobs.has(digest(b"old")) and await objects(place) == {digest(b"old")}

    play(before)
    play(scene, **place)


def test_garbage_of_the_bucket_goes_and_files_of_functions_stay_though_their_list_is_not_here(play, place, tmp_path):
    async def scene(platform):
        core = platform.core
        worker = await platform.worker(keep)
        client = await platform.client()
        file, orphan = await put(client, b"file"), await put(client, b"orphan")
        text = json.dumps({"files": [{"path": "m.py", "digest": file, "size": 4, "mode": 420}]}).encode()
        manifest = await put(client, text)
        function = await client.app(mounts=[manifest])
        (tmp_path / "stray").write_bytes(b"half known")
        bucket = s3_module.Bucket(place["objects"], place["aws"])
        await bucket.keep(f"00/{'0' * 64}", tmp_path / "stray")
        for one in (file, manifest):
            core.blobs.path(one).unlink()
        assert (await sweep.blobs(core, time.time() - 60))["count"] == 0
        assert (await sweep.blobs(core, time.time() + DAY))["count"] == 2
        await until(lambda: not core.blobs._removing)
        assert await objects(place) == {file, manifest} and not core.blobs.has(orphan)
        for one in (file, manifest):
            core.blobs.path(one).unlink(missing_ok=True)
        await client.request("call.create", call_id=ids.new("fc"), function_id=function, kind="map", inputs=[
            {"index": 0, "payload": {"blob": await put(client, b"\x80\x04)}\x86."), "size": 6}}
        ], closed=True)  # fmt: skip
        await until(lambda: worker.plans)
        assert core.blobs.path(file).read_bytes() == b"file" and core.blobs.path(manifest).read_bytes() == text

    play(scene, **place)
