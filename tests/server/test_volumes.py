"""Volumes as the server keeps them: names, versions in order, what a late commit is told, what is refused."""
from __future__ import annotations

import pytest
from fakes import SPEC
from test_containers_life import keep

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
