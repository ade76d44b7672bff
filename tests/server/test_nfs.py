"""Network file systems as the server keeps them: names, ends, what functions may mount, and files of those gone."""
from __future__ import annotations

import asyncio

import fakes
import pytest
from test_containers_life import keep

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import nfs


async def make(client, name: str = "scratch", **more) -> str:
    return (await client.request("nfs.get", name=name, create="missing", **more))["volume_id"]


def test_names_are_of_environments_and_end_with_them(play):
    async def scene(platform):
        client = await platform.client()
        first = await make(client)
        assert await make(client) == first
        await client.request("environment.create", name="dev")
        assert await make(client, environment="dev") != first
        with pytest.raises(exception.AlreadyExistsError):
            await client.request("nfs.get", name="scratch", create="new")
        for bad in ("", "a/b", "x" * 65, ids.new("sv")):
            with pytest.raises(exception.InvalidError):
                await make(client, bad)
        await client.request("environment.update", name="dev", set_name="test")
        [moved] = (await client.request("nfs.list", environment="test"))["file_systems"]
        assert moved["name"] == "scratch"
        await client.request("environment.delete", name="test")
        await client.request("environment.create", name="test")
        assert (await client.request("nfs.list", environment="test"))["file_systems"] == []
        await client.request("nfs.delete", volume_id=first)
        with pytest.raises(exception.NotFoundError, match="windlass nfs create"):
            await client.request("nfs.get", name="scratch")
        for method in ("nfs.get", "nfs.delete", "nfs.beat"):
            with pytest.raises(exception.NotFoundError, match="network file system"):
                await client.request(method, volume_id=first)

    play(scene)


def test_a_function_can_only_mount_what_there_is_where_there_is_room(play):
    async def scene(platform):
        client = await platform.client()
        one = await make(client)
        volume = (await client.request("volume.get", name="v", create="missing"))["volume_id"]
        mount = {"volume_id": volume, "read_only": False, "sub_path": ""}
        for shared, volumes in (
            ([{"path": "/a", "nfs_id": ids.new("sv")}], []),
            ([{"path": "a", "nfs_id": one}], []),
            ([{"path": "/a", "nfs_id": one}, {"path": "/b", "nfs_id": one}], []),
            ([{"path": "/a", "nfs_id": one}], [{"path": "/a", **mount}]),
        ):
            with pytest.raises((exception.InvalidError, exception.NotFoundError)):
                await client.app(nfs=shared, volumes=volumes)

    play(scene)


class Keeper(fakes.Worker):
    """A worker that has folders."""

    folders: list[str] = []
    asked = 0

    def _serve(self, incoming):
        if incoming.method == "folders.known":
            incoming.reply({"nfs_ids": self.folders})
        elif incoming.method == "folders.remove":
            self.folders = [one for one in self.folders if one not in incoming.body["nfs_ids"]]
            self.asked += 1
            incoming.reply({})
        else:
            super()._serve(incoming)


def test_workers_remove_the_files_of_what_is_gone_and_of_nothing_else(play):
    async def scene(platform):
        client = await platform.client()
        kept, gone = await make(client), await make(client, "gone")
        worker = await Keeper(platform.home, keep).start()
        worker.folders = [kept, gone]
        await client.request("nfs.delete", volume_id=gone)
        while not worker.asked:
            await asyncio.sleep(0.01)
        assert worker.folders == [kept]

    play(scene)


def test_an_ephemeral_one_ends_when_its_owner_falls_silent(play):
    async def scene(platform):
        client = await platform.client()
        worker = await Keeper(platform.home, keep).start()
        alive = (await client.request("nfs.get", ephemeral=True))["volume_id"]
        silent = (await client.request("nfs.get", ephemeral=True))["volume_id"]
        named = await make(client)
        worker.folders = [alive, silent, named]
        platform.core.db.run("UPDATE nfs SET beat_at = 1.0")
        await client.request("nfs.beat", volume_id=alive)
        await nfs.collect(platform.core)
        assert worker.folders == [alive, named]

    play(scene)
