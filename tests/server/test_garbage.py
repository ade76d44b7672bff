"""Garbage: what nobody finished or names goes by age; what is named, or was just promised to somebody, stays."""
from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time

import fakes
import pytest
from keyed import named
from test_containers_life import keep

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import sweep

DAY = 86400.0


class Worker(fakes.Worker):
    """Has layers that nothing names."""

    kept: list[dict] = []

    def _serve(self, incoming) -> None:
        if incoming.method == "layers.keep":
            self.kept.append(incoming.body)
            incoming.reply({"removed": 3, "size": 30})
        elif incoming.method == "storage.measure":
            incoming.reply({"volumes": {}, "layers": 500, "nfs": {}})
        elif incoming.method == "store.inventory":
            incoming.reply({"images": [], "sizes": {}, "mounts": []})
        else:
            super()._serve(incoming)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def put(client, data: bytes, method: str = "blob.put", **more) -> str:
    body = {"upload_id": ids.new("up"), "digest": digest(data), "offset": 0, "last": True, **more}
    await client.peer.request(method, body, [data])
    return digest(data)


def test_what_no_row_names_goes_by_age_and_what_is_named_in_any_way_stays(play):
    async def scene(platform):
        core = platform.core
        await platform.worker(keep)
        client = await platform.client()
        file = await put(client, b"a file of a function")
        listed = json.dumps({"files": [{"path": "m.py", "digest": file, "size": 20, "mode": 420}]}).encode()
        manifest, code = await put(client, listed), await put(client, b"\x80pickled code")
        await client.app(mounts=[manifest], definition="serialized", serialized=code)
        entry = await put(client, b"a large value")
        d = await named(client, "dict")
        await d.change("put", b"k", value={"blob": entry, "size": 13})
        orphan = await put(client, b"uploaded, then the caller died")
        alive = {file, manifest, code, entry}
        now = time.time()

        assert await sweep.blobs(core, now - 60) == {"what": "blobs", "count": 0, "size": 0}  # all of it is young
        told = await sweep.blobs(core, now + DAY, dry_run=True)
        assert told == {"what": "blobs", "count": 1, "size": 30} and core.blobs.has(orphan)
        assert await sweep.blobs(core, now + DAY) == told
        assert not core.blobs.has(orphan) and all(core.blobs.has(one) for one in alive)

    play(scene)


def test_a_reference_that_comes_at_the_last_moment_wins(play):
    async def scene(platform):
        core = platform.core
        client = await platform.client()
        blob = await put(client, b"old, and asked for again")
        os.utime(core.blobs.path(blob), (1.0, 1.0))
        sweeping = asyncio.create_task(sweep.blobs(core, time.time() - 60))
        asked = (await client.request("blob.missing", digests=[blob]))["missing"]
        await sweeping
        assert core.blobs.has(blob) == (asked == [])  # either it is there, or its caller was told to send it
        if asked:
            await put(client, b"old, and asked for again")
        assert (await client.request("blob.missing", digests=[blob]))["missing"] == []
        assert (await sweep.blobs(core, time.time() - 60))["count"] == 0
        core.blobs.delete(blob)  # the last row of another program went just now
        assert core.blobs.has(blob) and core.blobs.spared() == []
        core.blobs._promised[blob] -= 3600
        assert core.blobs.spared() == [blob]

    play(scene)


def test_uploads_that_do_not_go_on_are_dropped_and_their_sender_hears_of_it(play):
    async def scene(platform):
        core = platform.core
        client = await platform.client()
        whole = await put(client, b"sent, but never put into a volume", "volume.upload")
        for method in ("blob.put", "volume.upload"):
            body = {"upload_id": f"half-{method}", "digest": digest(b"ab"), "offset": 0, "last": False}
            await client.peer.request(method, body, [b"a"])
        stream = {"upload_id": "stream", "digest": "", "offset": 0, "last": False}
        await client.peer.request("volume.upload", stream, [b"a"])
        now = time.time()
        assert (await sweep.uploads(core, now - 60))["count"] == 0
        assert (await sweep.uploads(core, now + DAY, dry_run=True))["count"] == 4
        assert core.uploads.has(whole)
        assert (await sweep.uploads(core, now + DAY))["count"] == 4
        assert not core.uploads.has(whole)
        assert not list((platform.home / "uploads" / "incoming").iterdir())
        assert not list((platform.home / "blobs" / "incoming").iterdir())
        for method, upload_id, announced in (
            ("blob.put", "half-blob.put", digest(b"ab")), ("volume.upload", "stream", ""),
        ):
            with pytest.raises(exception.ConflictError, match="byte 0"):
                rest = {"upload_id": upload_id, "digest": announced, "offset": 1, "last": True}
                await client.peer.request(method, rest, [b"b"])

    play(scene)


def test_whoever_asks_for_it_hears_what_went_and_ages_that_are_too_short_are_refused(play):
    async def scene(platform):
        await Worker(platform.home, keep).start()
        client = await platform.client()
        blob = await put(client, b"orphan")
        os.utime(platform.core.blobs.path(blob), (1.0, 1.0))
        with pytest.raises(exception.InvalidError, match="on its way"):
            await client.request("storage.gc", older_than=5.0)
        told = await client.request("storage.gc", dry_run=True)
        assert {one["what"]: one["count"] for one in told["garbage"]} == {"uploads": 0, "blobs": 1, "volume layers": 3}
        assert Worker.kept[-1]["dry_run"] and Worker.kept[-1]["young"] == platform.settings.keep_unnamed_layers
        assert (await client.request("storage.gc", older_than=60.0)) == told
        assert not Worker.kept[-1]["dry_run"] and Worker.kept[-1]["young"] == 60.0
        assert (await client.request("storage.gc"))["size"] == 30

    play(scene)


def test_what_deleted_volumes_hold_for_a_while_is_shown_by_itself(play):
    async def scene(platform):
        await Worker(platform.home, keep).start()
        client = await platform.client()
        kinds = {one["what"]: one for one in (await client.request("storage.usage"))["kinds"]}
        left, named = kinds["layers of no volume"], kinds["volumes"]
        assert (left["size"], left["freeable"], named["size"], named["freeable"]) == (30, 30, 500, 0)
        assert left["command"].endswith("storage gc --older-than 1m")
        assert {"dry_run": True, "young": 60.0, "layers": []} in Worker.kept, "also what is kept for a while"

    play(scene)


def test_values_of_deleted_dicts_are_gone_with_their_blobs(play):
    async def scene(platform):
        core = platform.core
        await Worker(platform.home, keep).start()
        client = await platform.client()
        d = await named(client, "dict")
        blob = await put(client, b"v" * 50)
        await d.change("put", b"k", value={"blob": blob, "size": 50})
        await d.change("put", b"small", b"v", value={"at": 1, "size": 1})
        await client.request("dict.delete", name="n", op=90, low=90)
        await client.request("storage.gc")
        assert core.db.one("SELECT count(*) FROM dict_entry") == (0,)
        assert not core.blobs.has(blob)

    play(scene)
