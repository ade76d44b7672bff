"""Environments: apps and names of their own, and one that is meant where none is named."""
from __future__ import annotations

import re

import pytest
from fakes import SPEC
from test_containers_life import keep, until

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import web


def function() -> dict:
    return {"f": {"function_id": ids.new("fu"), "spec": {**SPEC, "tag": "f"}}}


async def deploy(client, environment: str, name: str = "shop") -> str:
    body = {"app_id": ids.new("ap"), "deploy_id": ids.new("de"), "name": name, "environment": environment}
    return (await client.request("app.deploy", **body, functions=function()))["app_id"]


async def names(client) -> dict[str, int]:
    return {one["name"]: one["apps"] for one in (await client.request("environment.list"))["environments"]}


def test_apps_of_one_name_live_in_several_environments(play):
    async def scene(platform):
        client = await platform.client()
        assert await names(client) == {"main": 0}
        with pytest.raises(exception.NotFoundError, match="'dev'"):
            await deploy(client, "dev")
        assert (await client.request("environment.create", name="dev"))["environment_id"].startswith("en-")
        here, there = await deploy(client, ""), await deploy(client, "dev")
        assert here != there and await names(client) == {"main": 1, "dev": 1}
        for environment, app in (("", here), ("main", here), ("dev", there)):
            assert (await client.request("app.get", app="shop", environment=environment))["app_id"] == app
            found = await client.request("function.get", app_name="shop", tag="f", environment=environment)
            assert found["app_id"] == app
        listed = await client.request("app.list", environment="dev")
        assert [app["app_id"] for app in listed["apps"]] == [there]
        for method, body in {
            "app.get": {"app": "shop"}, "app.list": {}, "function.get": {"app_name": "shop", "tag": "f"},
            "app.create": {"app_id": ids.new("ap")}, "image.list": {}, "image.get": {"name": "x"},
        }.items():  # fmt: skip
            with pytest.raises(exception.NotFoundError, match="no environment 'none'"):
                await client.request(method, **body, environment="none")
        for method, kind in {
            "volume.get": "volume", "nfs.get": "nfs", "dict.open": "dict", "queue.open": "queue", "secret.get": "secret"
        }.items():  # fmt: skip
            more = {"id": ids.new({"dict": "di", "queue": "qu"}[kind])} if kind in ("dict", "queue") else {}
            for environment, option in (("", ""), ("dev", " -e dev")):
                with pytest.raises(exception.NotFoundError) as caught:
                    await client.request(method, **more, name="absent", environment=environment)
                assert re.search(f"`windlass {kind} create absent( KEY=VALUE)?{option}`", caught.value.hint)

    play(scene)


def test_a_deleted_environment_takes_all_with_it(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        await client.request("environment.create", name="dev")
        app = await deploy(client, "dev")
        await client.request("environment.delete", name="dev")
        assert await names(client) == {"main": 0}
        await until(lambda: app not in platform.core.world.apps)
        from windlass.server.loops import garbage

        garbage.look(platform.core)
        with pytest.raises(exception.NotFoundError):
            await client.request("app.get", app=app)
        await client.request("environment.create", name="dev")
        assert (await client.request("app.list", environment="dev"))["apps"] == []
        with pytest.raises(exception.NotFoundError):
            await client.request("environment.delete", name="none")
        await client.request("environment.delete", name="dev")
        with pytest.raises(exception.ConflictError, match="only"):
            await client.request("environment.delete", name="main")

    play(scene)


def test_a_renamed_environment_keeps_its_apps_and_several_without_main_must_be_named(play):
    async def scene(platform):
        client = await platform.client()
        app = await deploy(client, "")
        await client.request("environment.update", name="main", set_name="prod", set_web_suffix="p")
        assert (await client.request("app.get", app="shop"))["environment"] == "prod"
        await client.request("environment.create", name="dev")
        with pytest.raises(exception.InvalidError, match="several"):
            await client.request("app.get", app="shop")
        assert (await client.request("app.get", app="shop", environment="prod"))["app_id"] == app
        await platform.stop()
        await platform.start()
        client = await platform.client()
        assert (await client.request("app.get", app="shop", environment="prod"))["app_id"] == app
        (prod, _) = (await client.request("environment.list"))["environments"]
        assert (prod["name"], prod["web_suffix"], prod["default"]) == ("prod", "p", False)

    play(scene)


def test_each_environment_has_addresses_of_its_own(play):
    async def scene(platform):
        client = await platform.client()

        async def suffixes():
            known = (await client.request("environment.list"))["environments"]
            return {one["name"]: one["web_suffix"] for one in known}

        def label(environment):
            return web.label(platform.core, environment, "shop", "site", "", {"label": ""}, dev="")

        for name in ("a-b", "a_b", "MAIN"):
            await client.request("environment.create", name=name)
        assert await suffixes() == {"main": "", "a-b": "a-b", "a_b": "a-b-2", "MAIN": "main"}
        assert len({label(name) for name in await suffixes()}) == 4
        for taken in ("a-b", ""):
            with pytest.raises(exception.AlreadyExistsError, match=f"the web suffix '{taken}' already"):
                await client.request("environment.update", name="MAIN", set_web_suffix=taken)
        # That of the workspace's own environment counts, too, and is free again for the one that takes its place.
        await client.request("environment.update", name="main", set_web_suffix="live")
        assert label("main") == "local-live--shop-site"
        await client.request("environment.update", name="main", set_name="old")
        await client.request("environment.create", name="main")
        assert label("main") == "local--shop-site" and (await suffixes())["main"] == ""

    play(scene)


@pytest.mark.parametrize("name", ["", "-x", "_x", "en-x", "a.b", "a b", "ä", "x" * 65, "a/b"])
def test_what_is_no_name_for_an_environment_is_refused(play, name):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.InvalidError):
            await client.request("environment.create", name=name)
        with pytest.raises(exception.InvalidError):
            await client.request("environment.update", name="main", set_name=name)
        with pytest.raises(exception.AlreadyExistsError):
            await client.request("environment.create", name="main")
        assert await names(client) == {"main": 0}

    play(scene)
