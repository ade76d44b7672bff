"""Buckets as the server sees them: what is refused, and who is given the keys."""
from __future__ import annotations

import pytest
import test_identity
from fakes import SPEC
from test_variants import echo

from windlass import exception
from windlass.kit import ids

MOUNT = {
    "path": "/b", "bucket": "lake", "endpoint": "http://127.0.0.1:9000", "prefix": "", "secret": "", "read_only": False,
    "requester_pays": False, "path_style": False,
}  # fmt: skip


async def secret(client, app: str, value: str) -> str:
    identity = ids.new("st")
    env = {"AWS_ACCESS_KEY_ID": value}
    await client.request("secret.create", secret_id=identity, name=None, env=env, app_id=app)
    return identity


def test_what_no_container_could_have_is_refused_when_a_function_is_made(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.request("app.create", app_id=app)
        volume = (await client.request("volume.get", name="v", create="missing"))["volume_id"]
        beside = {"path": "/b", "volume_id": volume, "read_only": False, "sub_path": ""}

        async def create(*mounts, volumes=()) -> None:
            spec = {**SPEC, "buckets": [{**MOUNT, **one} for one in mounts], "volumes": list(volumes)}
            await client.request("function.create", app_id=app, function_id=ids.new("fu"), spec=spec)

        for bad in (
            {"path": "b"}, {"path": "/"}, {"path": "/a/../b"}, {"bucket": ""}, {"bucket": "a/b"},
            {"bucket": "--config"}, {"prefix": "no-slash"}, {"prefix": "../"},
            {"endpoint": "file:///etc"}, {"endpoint": "http://a\n"}, {"endpoint": "http://127.0.0.1:99999"},
            {"endpoint": f"http://{'a' * 70}.lan"},
        ):  # fmt: skip
            with pytest.raises(exception.InvalidError):
                await create(bad)
        with pytest.raises(exception.InvalidError, match="two things"):
            await create({}, {"bucket": "other"})
        with pytest.raises(exception.InvalidError, match="two things"):
            await create({}, volumes=[beside])
        with pytest.raises(exception.NotFoundError):
            await create({"secret": ids.new("st")})
        await create({}, {"path": "/c"})

    play(scene)


def test_only_the_plan_for_the_worker_holds_the_keys_and_the_runner_gets_none(play):
    async def scene(platform):
        worker, client = await platform.worker(echo), await platform.client()
        base = await client.app()
        mount = {**MOUNT, "secret": await secret(client, client.app_id, "the-key")}
        info = await client.request("function.bind", function_id=base, overrides={"buckets": [mount]})
        await client.run(info["function_id"], [1])
        plan = worker.plans[0]
        notes = {"public": False, "alone": False}  # it is the owner's
        assert plan["buckets"] == [{**mount, **notes, "keys": {"AWS_ACCESS_KEY_ID": "the-key"}}]
        assert plan["env"] == {} and "the-key" not in str(plan["runner"])

    play(scene)


def test_variants_are_told_apart_by_what_the_secrets_of_their_buckets_hold(play):
    async def scene(platform):
        await platform.worker(echo)
        client = await platform.client()
        function = await client.app()

        async def bind(value: str) -> str:
            mount = {**MOUNT, "secret": await secret(client, client.app_id, value)}
            info = await client.request("function.bind", function_id=function, overrides={"buckets": [mount]})
            return str(info["function_id"])

        one = await bind("x")
        assert await bind("x") == one != await bind("y")

    play(scene)


def test_the_same_deployed_again_is_skipped_also_with_keys_that_were_made_anew(play):
    async def scene(platform):
        client, app, function = await platform.client(), ids.new("ap"), ids.new("fu")

        async def deploy(value: str) -> bool:
            mount = {**MOUNT, "secret": await secret(client, app, value)}
            return bool((await client.deploy(app, f=(function, {"buckets": [mount]})))["skipped"])

        assert [await deploy("1"), await deploy("1"), await deploy("2")] == [False, True, False]

    play(scene)


def test_members_and_containers_mount_what_lies_outside_and_the_owner_what_they_like(play):
    async def scene(platform):
        owner = await platform.client()
        mia = await test_identity.member(platform, owner, "mia")

        async def create(client, endpoint: str) -> dict:
            app, function = ids.new("ap"), ids.new("fu")
            await client.request("app.create", app_id=app)
            spec = {**SPEC, "buckets": [{**MOUNT, "endpoint": endpoint}]}
            await client.request("function.create", app_id=app, function_id=function, spec=spec)
            return platform.core.world.functions[function].spec["buckets"][0]

        inside, outside, named = "http://127.0.0.1:9000", "https://s3.example.org", "http://nas.local:9000"
        assert (await create(owner, inside))["public"] is False
        for where in (inside, "http://169.254.169.254"):
            with pytest.raises(exception.PermissionDeniedError) as caught:
                await create(mia, where)
            assert "WINDLASS_SERVER_BUCKET_ENDPOINTS" in caught.value.hint
        assert (await create(mia, outside))["public"], "the worker looks what the name means"
        noted = await create(mia, named)
        assert (noted["public"], noted["alone"]) == (False, True), "and the worker lets nothing else be reached"
        # Neither by other options of a function, nor by a new version of an app.
        base = await mia.app()
        with pytest.raises(exception.PermissionDeniedError):
            await mia.request("function.bind", function_id=base, overrides={"buckets": [MOUNT]})
        with pytest.raises(exception.PermissionDeniedError):
            await mia.deploy(ids.new("ap"), f=(ids.new("fu"), {"buckets": [MOUNT]}))

    play(scene, bucket_endpoints="nas.local")
