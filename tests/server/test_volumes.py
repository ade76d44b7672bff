"""Volumes as the server keeps them: names, versions in order, what a late commit is told, what is refused."""
from __future__ import annotations

import asyncio
import dataclasses
import hashlib

import fakes
import pytest
from fakes import SPEC
from keyed import named
from test_containers_life import keep, until

from windlass import exception
from windlass.kit import ids


async def make(client, name: str = "data", **more) -> str:
    return (await client.request("volume.get", name=name, create="missing", **more))["volume_id"]


async def publish(worker, volume: str, base: int, puts: str = "", clears: str = "", *, by="ta-1", layer="", seen=""):
    body = {
        "volume_id": volume, "container_id": by, "base": base, "layer_id": layer or ids.new("vl"), "digest": "sha256:0",
        "files": len(puts.split()), "size": 1,
    }  # fmt: skip
    lists = [b"\0".join(text.encode().split()) for text in (puts, clears, seen)]
    return (await worker.peer.request("volume.publish", body, lists)).body


def test_names_are_of_environments_and_follow_rename_and_delete(play):
    async def scene(platform):
        client = await platform.client()
        first = await make(client)
        assert await make(client) == first
        await client.request("environment.create", name="dev")
        assert await make(client, environment="dev") != first
        with pytest.raises(exception.AlreadyExistsError):
            await client.request("volume.get", name="data", create="new")
        with pytest.raises(exception.InvalidError, match="version 1"):
            await client.request("volume.get", name="data", version=2)
        for bad in ("", "a/b", "x" * 65, ids.new("vo")):
            with pytest.raises(exception.InvalidError):
                await make(client, bad)
        await make(client, "other")
        with pytest.raises(exception.AlreadyExistsError):
            await client.request("volume.rename", volume_id=first, name="other")
        await client.request("volume.rename", volume_id=first, name="data2")
        assert [one["name"] for one in (await client.request("volume.list"))["volumes"]] == ["other", "data2"]
        await client.request("volume.delete", volume_id=first)
        with pytest.raises(exception.NotFoundError):
            await client.request("volume.get", name="data2")
        await client.request("environment.delete", name="dev")
        await client.request("environment.create", name="dev")
        assert (await client.request("volume.list", environment="dev"))["volumes"] == []

    play(scene)


def test_commits_become_versions_once_each_and_a_late_one_hears_what_it_would_hide(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        volume, layer = await make(client), ids.new("vl")
        assert (await publish(worker, volume, 0, "d d/a", layer=layer))["version"] == 1
        assert (await publish(worker, volume, 0, "d d/a", layer=layer))["version"] == 1  # its answer was lost
        assert (await publish(worker, volume, 1, "d d/new d/a", by="ta-2"))["version"] == 2
        late = await publish(worker, volume, 1, "", "d")
        assert (late["version"], late["clash"]) == (0, ["d/a", "d/new"])
        assert (await publish(worker, volume, 1, "", "d", seen="d/a"))["clash"] == ["d/new"]
        done = await publish(worker, volume, 1, "d", "d/a", seen="d/a")
        assert (done["version"], len(done["layers"]), done["clash"]) == (3, 3, [])
        history = (await client.request("volume.history", volume_id=volume))["versions"]
        assert [(one["version"], one["by"]) for one in history] == [(3, "ta-1"), (2, "ta-2"), (1, "ta-1")]

    play(scene)


def test_versions_are_restored_forked_and_forgotten_and_survive_a_restart(play, home):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        volume = await make(client)
        stacks = [(await publish(worker, volume, n, f"f{n}"))["layers"] for n in range(4)]
        assert (await client.request("volume.restore", volume_id=volume, version=2))["version"] == 5
        head = (await worker.peer.request("volume.head", {"volume_id": volume})).body
        assert head == {"version": 5, "layers": stacks[1]}
        fork = (await client.request("volume.fork", volume_id=volume, version=3, name="fork"))["volume_id"]
        assert (await worker.peer.request("volume.head", {"volume_id": fork})).body["layers"] == stacks[2]
        with pytest.raises(exception.NotFoundError, match="no version 1 "):
            await client.request("volume.restore", volume_id=volume, version=1)
        for _ in range(3):
            await client.request("volume.restore", volume_id=volume, version=5)
        history = (await client.request("volume.history", volume_id=volume))["versions"]
        assert [one["version"] for one in history] == [8, 7, 6], "versions that are restored count, too"
        await platform.stop()
        await platform.start()
        worker, client = await platform.worker(keep), await platform.client()
        assert (await worker.peer.request("volume.head", {"volume_id": volume})).body["layers"] == stacks[1]

    play(scene, volume_versions=3)


def test_what_no_container_could_have_is_refused_when_a_function_is_made(play):
    async def scene(platform):
        client = await platform.client()
        volume = await make(client)
        app = ids.new("ap")
        await client.request("app.create", app_id=app)

        async def create(*mounts) -> None:
            spec = {**SPEC, "volumes": [{"read_only": False, "sub_path": "", "volume_id": volume, **m} for m in mounts]}
            await client.request("function.create", app_id=app, function_id=ids.new("fu"), spec=spec)

        for bad in ("data", "/", "/a/../b", "/\0"):
            with pytest.raises(exception.InvalidError):
                await create({"path": bad})
        with pytest.raises(exception.InvalidError, match="twice"):
            await create({"path": "/a"}, {"path": "/b"})
        with pytest.raises(exception.InvalidError, match="sub_path"):
            await create({"path": "/a", "sub_path": "x/../../y"})
        with pytest.raises(exception.NotFoundError):
            await create({"path": "/a", "volume_id": ids.new("vo")})
        await create({"path": "/a"})

    play(scene)


def test_users_and_strangers_cannot_commit_for_a_container(play):
    async def scene(platform):
        client = await platform.client()
        volume = await make(client)
        for method in ("volume.publish", "volume.head", "volume.commit"):
            with pytest.raises(exception.PermissionDeniedError):
                await client.request(method, volume_id=volume)

    play(scene)


# -- quotas ------------------------------------------------------------------------------------------------


class Counting(fakes.Worker):
    """Knows what stacks show: of each file that a layer has, the newest."""

    def __init__(self, *arguments, **more) -> None:
        super().__init__(*arguments, **more)
        self.content: dict[str, dict[str, int]] = {}
        self.asked = 0

    def _serve(self, incoming) -> None:
        if incoming.method != "layers.count":
            return super()._serve(incoming)
        self.asked += 1
        shown: dict[str, int] = {}
        for layer in incoming.body["layers"]:
            shown.update(self.content[layer])
        incoming.reply({"files": len(shown), "size": sum(shown.values())})

    async def commit(self, volume: str, by: str = "ta-1", **files: int) -> int:
        """Publish a layer of files of these sizes; 0 takes a file away."""
        layer = ids.new("vl")
        self.content[layer] = files
        body = {
            "volume_id": volume, "container_id": by, "base": 0, "layer_id": layer, "digest": "sha256:0",
            "files": len(files), "size": sum(files.values()),
        }  # fmt: skip
        return (await self.peer.request("volume.publish", body, [b"", b"", b""])).body["version"]


def test_a_commit_that_exceeds_the_quota_is_refused_whole_and_removals_make_room(play):
    async def scene(platform):
        worker = await Counting(platform.home, keep).start()
        client = await platform.client()
        volume = await make(client)
        await worker.commit(volume, a=60)
        told = await client.request("volume.quota", volume_id=volume, quota=100)
        assert told == {"quota": 100, "own": True, "used": 60}
        asked = worker.asked
        assert (await client.request("volume.room", volume_id=volume))["left"] == 40
        assert await worker.commit(volume, b=40) == 2
        assert worker.asked == asked, "what fits by the sizes of layers is not counted"
        with pytest.raises(exception.ResourceExhaustedError, match="100 of 100 bytes are used, and it would have 101"):
            await worker.commit(volume, c=1)
        assert await worker.commit(volume, b=30) == 3  # it replaces what had 40
        assert await worker.commit(volume, c=10) == 4
        await client.request("volume.quota", volume_id=volume, quota=50)
        with pytest.raises(exception.ResourceExhaustedError, match="windlass volume rm data"):
            await worker.commit(volume, d=1)
        assert await worker.commit(volume, a=20) == 5  # 60 of 50 bytes: but less than before
        assert await worker.commit(volume, b=0) == 6
        assert await worker.commit(volume, d=20) == 7
        with pytest.raises(exception.ResourceExhaustedError):
            await client.request("volume.restore", volume_id=volume, version=2)
        with pytest.raises(exception.ResourceExhaustedError, match="do not fit"):
            await client.request("volume.room", volume_id=volume, size=51)
        told = await client.request("volume.quota", volume_id=volume, quota=-1)
        assert told == {"quota": 0, "own": False, "used": 50}
        assert (await client.request("volume.room", volume_id=volume))["left"] == -1
        assert (await client.request("volume.restore", volume_id=volume, version=2))["version"] == 8
        with pytest.raises(exception.InvalidError):
            await client.request("volume.quota", volume_id=volume, quota=-7)
        await worker.commit(await make(client, "other"), a=10**9)

    play(scene)


def test_of_commits_that_come_at_once_only_those_are_taken_for_which_there_is_room(play):
    async def scene(platform):
        worker = await Counting(platform.home, keep).start()
        volume = await make(await platform.client())
        writers = [worker.commit(volume, f"ta-{n}", **{f"f{n}": 10}) for n in range(8)]
        done = await asyncio.gather(*writers, return_exceptions=True)
        assert sorted(one for one in done if isinstance(one, int)) == [1, 2, 3, 4, 5]
        assert all(isinstance(one, (int, exception.ResourceExhaustedError)) for one in done)

    play(scene, volume_quota=55)


def test_all_that_is_stored_has_a_quota_of_its_own_and_deleting_makes_room(play):
    async def scene(platform):
        core = platform.core
        worker = await Counting(platform.home, keep).start()
        client = await platform.client()
        one, other = await make(client), await make(client, "other")
        await worker.commit(one, a=900_000)
        with pytest.raises(exception.ResourceExhaustedError, match="of the platform is full"):
            await worker.commit(other, a=2_000_000)
        assert (await client.request("volume.get", volume_id=other))["head"] == 0
        await worker.commit(one, b=1_000_000)
        d = await named(client, "dict")
        core.settings = dataclasses.replace(core.settings, storage_quota=2_000_000)
        await until(lambda: core.over_quota)
        for asking in (d.put(b"k", b"v"), upload(client, b"x")):
            with pytest.raises(exception.ResourceExhaustedError, match="WINDLASS_SERVER_STORAGE_QUOTA"):
                await asking
        await client.request("volume.delete", volume_id=one)
        await until(lambda: not core.over_quota)
        assert await d.put(b"k", b"v")
        await upload(client, b"x")
        assert core.blobs.total() == 1
        await worker.commit(other, a=1000)

    async def upload(client, data: bytes) -> None:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        body = {"upload_id": ids.new("up"), "digest": digest, "offset": 0, "last": True}
        await client.peer.request("blob.put", body, [data])

    play(scene, storage_quota=3_000_000)
