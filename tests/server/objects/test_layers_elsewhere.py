"""Layers of volumes in a bucket: there before the commit, brought when a worker lacks them, gone with volumes."""
from __future__ import annotations

import hashlib
import time
import uuid

import fakes
import pytest
from test_containers_life import keep

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import packs
from windlass.server.objects import s3 as s3_module
from windlass.server.store import volumes

BUCKET = "objects"


@pytest.fixture
def place(s3):
    return {"objects": f"s3://{BUCKET}/{uuid.uuid4().hex}", "aws": s3.variables}


class Packing(fakes.Worker):
    """A worker whose layers are their own names."""

    def __init__(self, *arguments, **more) -> None:
        super().__init__(*arguments, **more)
        self.known: set[str] = set()

    def _serve(self, incoming) -> None:
        body = incoming.body
        if incoming.method == "layers.pack":
            (self.home / "packs").mkdir(exist_ok=True)
            (self.home / "packs" / f"{body['layer_id']}.tar").write_text(body["layer_id"])
            digest = "sha256:" + hashlib.sha256(body["layer_id"].encode()).hexdigest()
            incoming.reply({"digest": digest, "size": len(body["layer_id"])})
        elif incoming.method == "layers.lacking":
            incoming.reply({"layers": [one for one in body["layers"] if one not in self.known]})
        elif incoming.method == "layers.unpack":
            assert (self.home / "packs" / f"{body['layer_id']}.tar").read_text() == body["layer_id"]
            self.known.add(body["layer_id"])
            incoming.reply({})
        elif incoming.method == "layers.list":
            assert self.known.issuperset(body["layers"])
            incoming.end()
        else:
            super()._serve(incoming)

    async def commit(self, volume: str, layer: str = "") -> tuple[str, int]:
        layer = layer or ids.new("vl")
        self.known.add(layer)
        body = {
            "volume_id": volume, "container_id": "ta-1", "base": 0, "layer_id": layer, "digest": "sha256:0",
            "files": 1, "size": 1,
        }  # fmt: skip
        return layer, (await self.peer.request("volume.publish", body, [b"", b"", b""])).body["version"]


async def archives(place) -> set[str]:
    bucket = s3_module.Bucket(place["objects"], place["aws"])
    return {one.name async for one in bucket.listed()}


async def listed(client, volume: str) -> None:
    async for _ in client.peer.stream("volume.entries", {"volume_id": volume}, [b"/"]):
        pass


def test_a_layer_is_kept_before_its_commit_brought_when_it_lacks_and_removed_with_its_volume(play, place, tmp_path):
    async def scene(platform):
        core = platform.core
        worker = await Packing(platform.home, keep).start()
        client = await platform.client()
        volume = (await client.request("volume.get", name="data", create="missing"))["volume_id"]
        one, version = await worker.commit(volume)
        assert version == 1 and await archives(place) == {f"volumes/{one}.tar"}
        assert (await worker.commit(volume, one))[1] == 1  # its answer was lost
        other, version = await worker.commit(volume)
        assert version == 2 and not list((platform.home / "packs").iterdir())

        worker.known.clear()
        await listed(client, volume)
        assert worker.known == {one, other} and not list((platform.home / "packs").iterdir())

        worker.known.clear()
        (tmp_path / "bad").write_text(other)
        bucket = s3_module.Bucket(place["objects"], place["aws"])
        await bucket.keep(f"volumes/{one}.tar", tmp_path / "bad")
        with pytest.raises(exception.DataLossError, match=one):
            await listed(client, volume)
        assert worker.known == set()

        await packs.look_after(core, time.time() + 60)
        assert len(await archives(place)) == 2
        await client.request("volume.delete", volume_id=volume)
        core.turn.begin()
        volumes.forget_unnamed_layers(core.db)
        await packs.look_after(core, time.time() - 60)
        assert len(await archives(place)) == 2, "the young ones may be on their way into a version"
        (platform.home / "packs" / f"{one}.tar").write_text("of a server that was killed")
        await packs.look_after(core, time.time() + 60)
        assert await archives(place) == set() and not list((platform.home / "packs").iterdir())

    play(scene, **place)


def test_a_commit_that_cannot_be_kept_is_none_and_may_be_tried_again(play, place, monkeypatch):
    monkeypatch.setattr(s3_module, "_PATIENCE", 1.0)
    dead = {**place["aws"], "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    made: dict[str, str] = {}

    async def scene(platform):
        worker = await Packing(platform.home, keep).start()
        client = await platform.client()
        made["volume"] = (await client.request("volume.get", name="data", create="missing"))["volume_id"]
        made["layer"] = ids.new("vl")
        with pytest.raises(exception.InternalFailure, match="cannot be used"):
            await worker.commit(made["volume"], made["layer"])
        assert (await client.request("volume.get", volume_id=made["volume"]))["head"] == 0
        assert not list((platform.home / "packs").iterdir())

    async def later(platform):
        worker = await Packing(platform.home, keep).start()
        assert await worker.commit(made["volume"], made["layer"]) == (made["layer"], 1)
        assert await archives(place) == {f"volumes/{made['layer']}.tar"}

    play(scene, **{**place, "aws": dead})
    play(later, **place)


def test_layers_that_were_made_before_there_was_a_bucket_are_given_to_it(play, place):
    made: dict[str, str] = {}

    async def before(platform):
        worker = await Packing(platform.home, keep).start()
        client = await platform.client()
        volume = (await client.request("volume.get", name="data", create="missing"))["volume_id"]
        made["layer"], _ = await worker.commit(volume)

    async def after(platform):
        worker = await Packing(platform.home, keep).start()
        await packs.look_after(platform.core, time.time())
        assert await archives(place) == {f"volumes/{made['layer']}.tar"}
        assert worker.known == set()
        await packs.ensure(platform.core, platform.core.world.workers["n1"].peer, [made["layer"]])
        assert worker.known == {made["layer"]}

    play(before)
    play(after, **place)
