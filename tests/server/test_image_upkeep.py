"""Images leave, are checked and handed out: a real server and a real store, with a worker that builds without steps."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tarfile

import fakes
import pytest

from windlass import exception, paths
from windlass.kit import ids, tasks
from windlass.server.apply import prune
from windlass.worker import upkeep
from windlass.worker.images import cache, holds, store

DAY = 86400.0


@pytest.fixture(autouse=True)
def owner(monkeypatch):
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())


class Worker(fakes.Worker):
    """Its layers are real ones."""

    def __init__(self, home) -> None:
        super().__init__(home, lambda args, kwargs, lease: None)
        self.layers = cache.Layers(home)
        self.store = store.Store(home, holds.Holds())
        self.upkeep = upkeep.Upkeep(self.store, tasks.Tasks())
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.built: list[str] = []

    async def start(self) -> Worker:
        self.images = self.layers.known()
        return await super().start()

    def _serve(self, incoming) -> None:
        if incoming.method.startswith("store."):
            self.asked.append(incoming.method)
            self._spawn(self._keep(incoming))
        else:
            super()._serve(incoming)

    async def _keep(self, incoming) -> None:
        if incoming.method == "store.remove":
            await self.gate.wait()
        self.upkeep.serve(incoming)

    async def _build(self, build: str) -> None:
        plan = (await self.peer.request("build.plan", {"build_id": build})).body
        image_id, parent = plan["image_id"], plan["parent"]
        below = self.layers.read(parent)["layers"] if parent else []
        record = {"layers": below, "env": {}, "workdir": "", "entrypoint": [], "python": "3.11", "size": 0}
        with contextlib.suppress(exception.NotFoundError):
            self.layers.read(image_id)
            raise AssertionError("asked to build what is here")
        self.built.append(image_id)
        async with self.layers.draft() as draft:
            if plan["recipe"]["op"] != "env":
                (draft.tree() / "made").write_text(image_id)
                record["layers"] = [*below, image_id]
            record = await self.layers.publish(image_id, draft, record)
        await self.peer.request("build.result", {"build_id": build, "error": None, "meta": {
            key: record[key] for key in ("layers", "env", "workdir", "entrypoint", "python", "size")
        }})  # fmt: skip


BASE = {"op": "base", "base": "debian_slim", "python": "3.11"}


def step(number: int) -> dict:
    return {"op": "run", "commands": [f"echo {number}"]}


CHAIN = [BASE, step(1), {"op": "env", "env": {"A": "1"}}, step(2)]


async def built(client, recipes, app_id=None) -> str:
    async for item in client.peer.stream("image.build", {"recipes": recipes, "app_id": app_id}):
        if item.body["kind"] == "done":
            return item.body["image_id"]
    raise AssertionError("no image")


async def stale(platform) -> None:
    """Nobody is about to use what was built, and it was last used long ago."""
    platform.core.handed.clear()
    platform.core.db.run("UPDATE image SET used_at = 1.0, built_at = 1.0")


def rows(platform) -> set[str]:
    return {row[0] for row in platform.core.db.all("SELECT id FROM image")}


def here(platform) -> set[str]:
    return {entry.name for entry in (platform.home / "layers").iterdir()}


async def stocked(platform, recipes=CHAIN):
    worker = await Worker(platform.home).start()
    client = await platform.client()
    image = await built(client, recipes)
    await stale(platform)
    return worker, client, image


async def until(condition, seconds: float = 10.0):
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_what_nothing_uses_goes_with_its_rows_and_is_built_anew(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        shown = await client.request("image.prune", dry_run=True)
        assert len(rows(platform)) == 4 and shown["images"][0]["command"] == "echo 2"
        done = await client.request("image.prune")
        assert done == shown and done["size"] == done["stored"] > 0
        assert rows(platform) == here(platform) == set() and not platform.core.removing
        assert await built(client, CHAIN) == image and len(worker.built) == 8

    play(scene)


def test_what_was_used_lately_stays_unless_all_is_asked_for(play):
    async def scene(platform):
        _, client, _ = await stocked(platform)
        platform.core.db.run("UPDATE image SET used_at = ?", (platform.core.clock.now() - DAY,))
        assert not (await client.request("image.prune"))["images"]
        assert not (await client.request("image.prune", older_than=2 * DAY))["images"]
        assert len((await client.request("image.prune", older_than=DAY / 2, dry_run=True))["images"]) == 4
        assert not (await client.request("image.prune", keep_size=10**9))["images"]
        assert len((await client.request("image.prune", keep_size=0, dry_run=True))["images"]) == 4
        assert len((await client.request("image.prune", everything=True))["images"]) == 4

    play(scene)


def test_the_image_of_an_app_stays_until_the_app_has_stopped(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        await client.app(image_id=image)
        await stale(platform)
        assert not (await client.request("image.prune", everything=True))["images"]
        await client.request("app.stop", app_id=client.app_id)
        await until(lambda: not platform.core.world.functions)
        assert len((await client.request("image.prune", everything=True))["images"]) == 4

    play(scene)


def test_the_image_of_an_older_version_stays_until_its_app_has_stopped(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        newer = await built(client, [BASE, step(3)])
        app, function = ids.new("ap"), ids.new("fu")
        for one in (image, newer):
            await client.deploy(app, f=(function, {"image_id": one}))
        await stale(platform)
        assert not (await client.request("image.prune", everything=True))["images"]
        await client.request("app.return", app_id=app, deploy_id="x")
        assert platform.core.world.functions[function].spec["image_id"] == image
        await client.request("app.stop", app_id=app)
        await until(lambda: not platform.core.world.functions)
        assert len((await client.request("image.prune", everything=True))["images"]) == 5

    play(scene)


def test_an_image_that_somebody_is_about_to_use_stays(play):
    async def scene(platform):
        _, client, _ = await stocked(platform)
        other = await platform.client()
        await built(other, CHAIN)
        assert not (await client.request("image.prune", everything=True))["images"]
        other.peer.close()
        await until(lambda: not platform.core.handed)
        assert len((await client.request("image.prune", everything=True))["images"]) == 4

    play(scene, caller_gone=0.1)


def test_a_named_image_stays(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        parent = platform.core.db.one("SELECT parent FROM image WHERE id = ?", (image,))[0]
        await client.request("image.publish", image_id=parent, name="kept")
        found = await client.request("image.prune", everything=True)
        assert [one["image_id"] for one in found["images"]] == [image] and len(rows(platform)) == 3

    play(scene)


def test_what_the_worker_uses_stays_although_the_server_knows_nothing_of_it(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        with worker.store.held.of(image):
            assert not (await client.request("image.prune", everything=True))["images"] or image in rows(platform)
            assert image in rows(platform) and image in here(platform)
        assert rows(platform) <= here(platform)

    play(scene)


def test_a_build_that_comes_upon_an_image_being_removed_waits_and_builds_it_anew(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        worker.gate.clear()
        other = await platform.client()
        removal = asyncio.ensure_future(client.request("image.prune", everything=True))
        await until(lambda: "store.remove" in worker.asked)
        again = asyncio.ensure_future(built(other, CHAIN))
        await until(lambda: any(platform.core.removing.values()))
        worker.gate.set()
        assert len((await removal)["images"]) == 4
        assert await again == image and len(worker.built) == 8 and image in rows(platform)
        assert rows(platform) == here(platform)

    play(scene)


def test_a_build_goes_on_when_the_removal_comes_to_nothing(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        worker.gate.clear()
        other = await platform.client()
        removal = asyncio.ensure_future(client.request("image.prune", everything=True))
        await until(lambda: "store.remove" in worker.asked)
        again = asyncio.ensure_future(built(other, CHAIN))
        await until(lambda: any(platform.core.removing.values()))
        with worker.store.held.of(image):
            worker.gate.set()
            await removal
        assert await again == image and image in rows(platform)

    play(scene)


def test_a_removal_of_which_the_server_did_not_hear_is_made_up_for(play):
    """The worker removed the image, and one of both died before the row was gone."""

    async def scene(platform):
        worker, client, image = await stocked(platform)
        await worker.store.delete(worker.store.take([image]))
        worker.peer.close()
        await until(lambda: not platform.core.world.workers)
        worker = await Worker(platform.home).start()
        assert image in rows(platform)
        assert await built(client, CHAIN) == image and worker.built == [image]

    play(scene)


def test_old_images_go_by_themselves_and_young_ones_stay(play):
    async def scene(platform):
        _, client, _ = await stocked(platform)
        young = await built(client, [BASE, step(7)])
        platform.core.handed.clear()
        await prune.collect(platform.core)
        base = platform.core.db.one("SELECT parent FROM image WHERE id = ?", (young,))[0]
        assert rows(platform) == here(platform) == {young, base}

    play(scene)


def test_a_budget_is_kept_by_itself_but_not_at_the_cost_of_what_is_in_use_now(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        platform.core.db.run("UPDATE image SET used_at = ?", (platform.core.clock.now() - DAY,))
        young = await built(client, [BASE, step(7)])
        platform.core.handed.clear()
        await prune.collect(platform.core)
        assert image not in rows(platform) and young in rows(platform)

    play(scene, images_budget=1)


def test_images_that_no_row_knows_are_removed_after_a_grace(play):
    async def scene(platform):
        _, _, image = await stocked(platform)
        platform.core.db.run("DELETE FROM image WHERE id = ?", (image,))
        platform.core.db.run("UPDATE image SET used_at = ?", (platform.core.clock.now(),))
        await prune.collect(platform.core)
        assert image in here(platform)
        platform.core.unknown[image] -= 2 * DAY
        await prune.collect(platform.core)
        assert image not in here(platform) and len(here(platform)) == 3

    play(scene)


def test_mounts_that_nothing_uses_go_when_they_are_old(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        used, old, young = ("a" * 64, "b" * 64, "c" * 64)
        for name in (used, old, young, f"{old}.{image}"):
            folder = platform.home / "mounts" / name
            folder.mkdir(parents=True)
            if name != young:
                os.utime(folder, (1, 1))
        await client.app(image_id=image, mounts=[f"sha256:{used}"])
        await prune.collect(platform.core)
        assert {entry.name for entry in (platform.home / "mounts").iterdir()} == {used, young}

    play(scene)


def test_without_a_worker_it_is_said(play):
    async def scene(platform):
        client = await platform.client()
        for method in ("image.prune", "image.fsck"):
            with pytest.raises(exception.ExecutionError, match="no worker"):
                async for _ in client.peer.stream(method, {}):
                    pass

    play(scene)


# -- the check --


async def checked(client, **query):
    events = [item.body async for item in client.peer.stream("image.fsck", query)]
    found = [event["finding"] for event in events if "finding" in event]
    return [(one["name"], one["kind"], one.get("repaired")) for one in found], events[-1]


def test_a_damaged_layer_goes_with_all_that_stands_on_it_and_the_next_build_heals(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        assert await checked(client) == ([], {"checked": 4, "removed": []})
        first = worker.built[1]
        (platform.home / "layers" / first / "files/made").unlink()
        (platform.home / "layers/.draft-old").mkdir()
        expected = {(first, "changed"), (".draft-old", "draft")}
        assert {one[:2] for one in (await checked(client))[0]} == expected
        found, last = await checked(client, repair=True)
        assert {one[:2] for one in found} == expected and all(one[2] for one in found)
        assert set(last["removed"]) == {first, ".draft-old", *worker.built[2:]}
        assert rows(platform) == here(platform) == {worker.built[0]}
        assert (await checked(client))[0] == []
        assert await built(client, CHAIN) == image and (await checked(client))[0] == []

    play(scene)


def test_rows_without_images_and_images_without_rows_are_found(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        platform.core.db.run("DELETE FROM image WHERE id = ?", (worker.built[2],))
        await worker.store.delete(worker.store.take([image]))
        worker.peer.close()
        await until(lambda: not platform.core.world.workers)
        await Worker(platform.home).start()
        found, _ = await checked(client, repair=True)
        assert found == [(image, "no image", True), (worker.built[2], "unknown", False)]
        assert image not in rows(platform)
        assert (await checked(client))[0] == [(worker.built[2], "unknown", None)]

    play(scene)


def test_what_is_in_use_is_not_repaired_under_somebodys_hands(play):
    async def scene(platform):
        worker, client, image = await stocked(platform)
        (platform.home / "layers" / image / "files/made").unlink()
        with worker.store.held.of(image):
            assert (await checked(client, repair=True))[0] == [(image, "changed", False)]
        assert (await checked(client, repair=True))[0] == [(image, "changed", True)]

    play(scene)


# -- export --


def test_an_archive_arrives_whole_with_the_steps_as_history(play):
    async def scene(platform):
        _, client, image = await stocked(platform)
        data = b""
        async for item in client.peer.stream("image.export", {"image_id": image, "format": "oci"}):
            data += b"".join(item.attachments)
        with tarfile.open(fileobj=io.BytesIO(data)) as file:
            names = file.getnames()
            texts = [file.extractfile(m).read() for m in file.getmembers() if m.isfile()]
        assert names[0] == "oci-layout" and len(names) == 4 + 3
        assert any(b'"created_by":"ENV A","empty_layer":true' in text for text in texts)
        assert any(f'"localhost/windlass:{image}"'.encode() in text for text in texts)

    play(scene)


def test_a_reader_that_does_not_read_stops_the_writer(play):
    async def scene(platform):
        worker, _, image = await stocked(platform)
        with (platform.home / "layers" / image / "files/large").open("wb") as file:
            file.truncate(200 * 2**20)
        slow = await fakes.connect(paths.server_socket(platform.home), role="user", client_id=ids.new("cl"))
        stream = slow.stream("image.export", {"image_id": image})
        await anext(stream)
        slow._transport.pause_reading()
        seen = -1
        while seen != len(worker.asked):
            seen = len(worker.asked)
            await asyncio.sleep(1)
        assert seen < 50, "200 pieces would be asked for without a limit"
        slow.close()
        await until(lambda: not worker.upkeep._exports)
        assert worker.store.held.held() == set()

    play(scene)


def test_an_image_that_is_not_there_cannot_be_exported(play):
    async def scene(platform):
        _, client, _ = await stocked(platform)
        with pytest.raises(exception.NotFoundError, match="no image"):
            async for _ in client.peer.stream("image.export", {"image_id": ids.new("im")}):
                pass
        with pytest.raises(exception.InvalidError, match="format"):
            async for _ in client.peer.stream("image.export", {"image_id": ids.new("im"), "format": "vhd"}):
                pass

    play(scene)
