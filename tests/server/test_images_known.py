"""Images that exist: names, last use, what is shared; and when the cache is asked, replaced or left alone."""
from __future__ import annotations

import asyncio

import pytest

from windlass import exception
from windlass.kit import ids
from windlass.server.decide import sharing

BASE = {"op": "base", "base": "debian_slim", "python": "3.11"}
STEP = {"op": "run", "commands": ["true"]}
OTHER = {"op": "run", "commands": ["false"]}


def keep(args, kwargs, lease):
    return NotImplemented


async def build(client, *recipes, app_id=None, **more):
    """(image id, commands of the steps that had to be built)"""
    done, steps = None, []
    async for item in client.peer.stream("image.build", {"recipes": list(recipes), "app_id": app_id, **more}):
        if item.body["kind"] == "step":
            steps.append(item.body["command"])
        done = item.body
    return done["image_id"], steps


def on(image_id):
    return {"op": "base", "base": "image", "image": image_id}


class Later:
    """The server's clock, moved on."""

    def __init__(self, clock):
        self.clock, self.ahead = clock, 0.0

    def now(self):
        return self.clock.now() + self.ahead

    def __getattr__(self, name):
        return getattr(self.clock, name)


# -- names


def test_a_name_means_what_was_published_last_under_its_tag_and_environment(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        one, two = (await build(client, BASE))[0], (await build(client, BASE, STEP))[0]

        async def found(**query):
            return (await client.request("image.get", name="train", **query))["image_id"]

        await client.request("image.publish", image_id=one, name="train")
        await client.request("image.publish", image_id=two, name="train", tag="v2")
        await client.request("environment.create", name="dev")
        await client.request("image.publish", image_id=two, name="train", environment="dev")
        assert await found() == one and await found(tag="latest", environment="main") == one
        assert await found(tag="v2") == two and await found(environment="dev") == two
        await client.request("image.publish", image_id=two, name="train")
        assert await found() == two
        with pytest.raises(exception.NotFoundError, match=r"train:v3.*'main'"):
            await found(tag="v3")
        with pytest.raises(exception.NotFoundError):
            await client.request("image.publish", image_id=ids.new("im"), name="train")
        for wrong in ("", "im-x", "a/b", "a b", "x" * 65):
            with pytest.raises(exception.InvalidError):
                await client.request("image.publish", image_id=one, name=wrong)
        names = {row["image_id"]: row["names"] for row in (await client.request("image.list"))["images"]}
        assert names == {two: ["dev/train:latest", "main/train:latest", "main/train:v2"]}

    play(scene)


def test_names_and_logs_survive_a_restart(play, home):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        image_id = (await build(client, BASE))[0]
        await client.request("image.publish", image_id=image_id, name="kept")
        return image_id

    image_id = play(scene)

    async def again(platform):
        client = await platform.client()
        assert (await client.request("image.get", name="kept"))["image_id"] == image_id
        logs = [item.body async for item in client.peer.stream("image.logs", {"image_id": image_id})]
        assert [event["kind"] for event in logs] == ["layer", "log", "end"]

    play(again)


# -- an image as base of further steps


def test_steps_can_follow_an_image_that_exists(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        first = (await build(client, BASE, STEP))[0]
        direct = await build(client, BASE, STEP, OTHER)
        assert await build(client, on(first), OTHER) == (direct[0], [])
        further, steps = await build(client, on(first), {"op": "run", "commands": ["more"]}, {"op": "env", "env": {}})
        assert steps == ["more", "ENV "] and worker.plans[-2]["parent"] == first
        assert (await build(client, on(further)))[0] == further
        with pytest.raises(exception.NotFoundError, match="no image"):
            await build(client, on(ids.new("im")), STEP)
        with pytest.raises(exception.InvalidError, match="one base"):
            await build(client, BASE, on(first))

    play(scene)


def test_an_image_that_no_worker_has_any_more_is_lost_and_said_to_be(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        image_id = (await build(client, BASE))[0]
        worker.images.remove(image_id)
        await worker.hello()
        for asked in (build(client, on(image_id)), client.request("image.get", image_id=image_id)):
            with pytest.raises(exception.NotFoundError, match="is lost"):
                await asked
        assert await build(client, BASE) == (image_id, ["debian_slim python 3.11"]), "from its definition it is rebuilt"

    play(scene)


# -- the cache


def test_a_forced_chain_is_built_once_for_its_app_and_replaces_what_the_cache_had(play):
    async def scene(platform):
        await platform.worker(keep)
        client, other = await platform.client(), await platform.client()
        before = (await build(client, BASE, STEP))[0]
        forced = {**BASE, "force": True}
        (one, steps), (two, _) = await asyncio.gather(
            build(client, forced, STEP, app_id="ap-1"), build(other, forced, STEP, app_id="ap-1")
        )
        assert one == two != before and len(steps) == 2
        assert await build(client, forced, STEP, app_id="ap-1") == (one, []), "once is enough for an app"
        assert await build(client, BASE, STEP, app_id="ap-2") == (one, []), "the others have the new one"
        later, steps = await build(client, forced, STEP, app_id="ap-2")
        assert later != one and len(steps) == 2, "another app forces for itself"
        assert await build(client, forced, STEP, app_id="ap-1") == (one, []), "and changes nothing for the first"

    play(scene)


def test_only_the_steps_from_the_forced_one_on_are_built_again(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        await build(client, BASE, STEP, OTHER)
        assert (await build(client, BASE, {**STEP, "force": True}, OTHER, app_id="a"))[1] == ["true", "false"]
        image_id = (await build(client, BASE))[0]
        assert (await build(client, {**on(image_id), "force": True}, STEP, app_id="b"))[1] == ["true"]

    play(scene)


def test_who_ignores_the_cache_builds_everything_and_leaves_the_cache_as_it_is(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        before = (await build(client, BASE, STEP))[0]
        fresh, steps = await build(client, BASE, STEP, app_id="ap-1", ignore_cache=True)
        assert fresh != before and len(steps) == 2
        assert await build(client, BASE, STEP, app_id="ap-1", ignore_cache=True) == (fresh, [])
        assert await build(client, BASE, STEP, app_id="ap-1") == (before, [])
        assert (await client.request("image.get", image_id=fresh))["image_id"] == fresh

    play(scene)


def test_one_who_joins_a_build_that_ignores_the_cache_finds_it_there_afterwards(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client, other = await platform.client(), await platform.client()
        worker.build_gate = asyncio.Event()
        ignoring = asyncio.ensure_future(build(client, BASE, app_id="ap-1", ignore_cache=True))
        while not worker.plans:
            await asyncio.sleep(0.01)
        joined = asyncio.ensure_future(build(other, BASE))
        (waiting,) = platform.core.world.builds.values()
        while len(waiting.waiters) < 2:
            await asyncio.sleep(0.01)
        worker.build_gate.set()
        assert (await ignoring)[0] == (await joined)[0]
        assert await build(other, BASE) == ((await joined)[0], [])

    play(scene)


def test_what_was_forced_is_forgotten_with_its_app(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        await client.app()
        await build(client, {**BASE, "force": True}, app_id=client.app_id)
        assert platform.core.anew
        await client.request("app.stop", app_id=client.app_id, reason="done")
        while platform.core.world.apps:
            await asyncio.sleep(0.01)
        assert not platform.core.anew

    play(scene)


def test_another_builder_version_has_layers_of_its_own_and_an_unknown_one_is_refused(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        ours = (await build(client, BASE))[0]
        older, steps = await build(client, BASE, builder_version="2024.10")
        assert older != ours and len(steps) == 1
        assert await build(client, BASE, builder_version="2024.10") == (older, [])
        assert await build(client, BASE, builder_version="2026.11") == (ours, [])
        await client.app()
        environment = platform.core.settings.environment
        for said, layer in (("2024.10", older), ("", ours)):
            info = await client.request("environment.update", name=environment, set_image_builder_version=said)
            assert info["image_builder_version"] == said
            assert await build(client, BASE, app_id=client.app_id) == (layer, [])
        with pytest.raises(exception.InvalidError, match="not known"):
            await client.request("environment.update", name=environment, set_image_builder_version="2031.01")
        with pytest.raises(exception.InvalidError, match=r"2031\.01") as caught:
            await build(client, BASE, builder_version="2031.01")
        assert "2025.06" in caught.value.hint

    play(scene)


# -- use and sharing


def test_the_last_use_is_noted_by_builds_and_container_starts_but_not_at_each_call(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        image_id = (await build(client, BASE))[0]
        clock = platform.core.clock = Later(platform.core.clock)

        async def used():
            return (await client.request("image.info", image_id=image_id))["used_at"]

        first = await used()
        await build(client, BASE)
        clock.ahead = 1000.0
        await build(client, BASE)
        assert await used() >= first + 1000
        clock.ahead = 1030.0
        commits = platform.core.turn.commits
        await build(client, BASE)
        assert platform.core.turn.commits == commits, "not twice in a minute"
        clock.ahead = 2000.0
        function = await client.app(image_id=image_id)
        assert (await client.run(function, [5]))[0]["data"] == 5
        assert await used() >= first + 2000
        users = (await client.request("image.info", image_id=image_id))["users"]
        assert [(user["app_id"], user["functions"]) for user in users] == [(client.app_id, ["f"])]

    play(scene)


def test_the_list_says_what_each_image_is_and_how_much_it_shares(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        base, one = (await build(client, BASE))[0], (await build(client, BASE, STEP))[0]
        two = (await build(client, BASE, OTHER))[0]
        rows = {row["image_id"]: row for row in (await client.request("image.list"))["images"]}
        assert set(rows) == {one, two}, "not what only other steps stand on"
        assert rows[one]["command"] == "true"
        assert (rows[one]["size"], rows[one]["total"], rows[one]["shared"]) == (1, 2, 1)
        assert base in {row["image_id"] for row in (await client.request("image.list", all=True))["images"]}
        info = await client.request("image.info", image_id=one)
        assert [step["image_id"] for step in info["steps"]] == [base, one]
        assert [step["others"] for step in info["steps"]] == [1, 0]
        assert info["sharing"] == [{"image_id": two, "command": "false", "size": 1}]
        assert info["python"] == "3.11" and info["total"] == 2
        await client.request("environment.create", name="dev")
        assert (await client.request("image.list", environment="dev"))["images"] == []
        await client.request("image.publish", image_id=base, name="b", environment="dev")
        (row,) = (await client.request("image.list", environment="dev"))["images"]
        assert row["image_id"] == base and row["names"] == ["dev/b:latest"]
        with pytest.raises(exception.NotFoundError):
            await client.request("image.info", image_id=ids.new("im"))

    play(scene)


def test_images_that_share_their_first_steps_count_those_once():
    images = {
        "base": sharing.Image(None, ("base",), 100),
        "a": sharing.Image("base", ("base", "a"), 10),
        "env": sharing.Image("a", ("base", "a"), 0),
        "b": sharing.Image("base", ("base", "b"), 5),
    }
    known = sharing.Sharing(images)
    assert known.total("env") == 110 and known.shared("env") == 110 and known.shared("b") == 100
    assert known.chain("env") == ["base", "a", "env"] and known.tops() == {"env", "b"}
    assert dict(known.common("b", ["base", "b"])) == {"a": 100, "env": 100}
    assert known.others("base", ["base", "b"]) == 2


def test_a_chain_whose_lower_rows_are_gone_ends_where_they_end():
    known = sharing.Sharing({"top": sharing.Image("gone", ("gone", "top"), 3)})
    assert known.chain("top") == ["top"] and known.total("top") == 3
