"""Each method that names a thing of a closed environment says that there is no such thing, whatever the method."""
from __future__ import annotations

import typing

import pytest
from test_identity import deployment, member, token
from test_sandboxes import META, Scene

from windlass import exception
from windlass.kit import ids
from windlass.server.api import guard
from windlass.server.apply import identity
from windlass.server.decide import rights
from windlass.server.state import clusters, terminals
from windlass.server.store import images, proxies, sandboxes
from windlass.wire.messages import methods

WHAT = {
    "app_id": "app", "app": "app", "functions": "function", "function_id": "function", "call_id": "call",
    "container_id": "container", "sandbox_id": "sandbox", "fork_ids": "sandbox", "secret_id": "secret",
    "volume_id": "volume", "image_id": "image", "image_ids": "image", "snapshot_id": "snapshot",
    "proxy_id": "proxy", "terminal_id": "terminal", "cluster_id": "cluster",
    "environment": "environment", "parent_input_id": "", "input_id": "",
    # what whoever asks has made, or knows by nothing but its id, and only beside an id of the above
    "deploy_id": "", "edit_id": "", "upload_id": "", "exec_id": "", "tunnel_id": "", "token_id": "", "client_id": "",
}  # fmt: skip
"""The thing that each key of a request names."""

_PLAIN = {str: "", int: 0, float: 0.0, bool: False}


def least(shape):
    """The smallest value of that shape."""
    if hasattr(shape, "__total__"):
        kinds = typing.get_type_hints(shape)
        return {key: least(kinds[key]) for key in kinds if key in shape.__required_keys__}
    if shape in _PLAIN:
        return _PLAIN[shape]
    origin, parts = typing.get_origin(shape) or shape, typing.get_args(shape)
    if type(None) in parts or shape in (typing.Any, object):
        return None
    return {list: [], dict: {}, tuple: []}[origin] if origin in (list, dict, tuple) else least(parts[0])


def named(method: str) -> list[str]:
    """Keys of its requests that name a thing."""
    found = typing.get_type_hints(methods.METHODS[method].request)
    return [key for key in found if WHAT.get(key) or (key == "id" and method.startswith(("dict.", "queue.")))]


def asked(method: str, key: str, things: dict[str, str]) -> dict:
    """A request that names, by that key, what is closed."""
    what = method.partition(".")[0] if key == "id" else WHAT[key]
    if what == "volume" and method.startswith("nfs."):
        what = "nfs"
    value: typing.Any = things[what]
    if key.endswith("ids"):
        value = [value]
    if key == "functions":
        value = {"f": value} if method == "app.publish" else {"f": {"function_id": ids.new("fu"), "spec": {
            "secrets": [things["secret"]]}}}  # fmt: skip
    return {**least(methods.METHODS[method].request), key: value}


CASES = [
    (method, key)
    for method, known in methods.METHODS.items()
    if known.roles & methods.CALLER and method not in rights.ADMIN
    for key in named(method)
]


async def things_of(scene, where: str) -> dict[str, str]:
    """One of each kind in that environment."""
    core, ask = scene.platform.core, scene.ask
    app = await ask("app.deploy", **deployment(where))
    made = {"app": app["app_id"], "function": app["functions"]["f"]["function_id"], "environment": where}
    made["call"] = await scene.client.create(made["function"], [1])
    for kind, prefix in (("dict", "di"), ("queue", "qu")):
        opened = await ask(f"{kind}.open", id=ids.new(prefix), name="n", environment=where, create="missing")
        made[kind] = opened["id"]
    made["volume"] = (await ask("volume.get", name="n", environment=where, create="missing"))["volume_id"]
    made["nfs"] = (await ask("nfs.get", name="n", environment=where, create="missing"))["volume_id"]
    made["secret"] = ids.new("st")
    await ask("secret.store", secret_id=made["secret"], name="k", env={"K": "1"}, environment=where, op=1, low=0)
    scene.app = made["app"]
    made["sandbox"] = await scene.create()
    await scene.until(made["sandbox"], "running")
    made["container"] = core.world.sandboxes[made["sandbox"]].container.id
    made["image"], made["snapshot"], made["proxy"], made["terminal"] = (
        ids.new(prefix) for prefix in ("im", "sn", "pr", "tt")
    )
    taken = ids.new("im")
    now = core.clock.now()
    core.turn.begin()
    for image, parent, recipe in (
        (taken, None, {"op": "snapshot", "commands": [made["sandbox"]]}),
        (made["image"], taken, {"op": "run", "commands": ["true"]}),
    ):
        images.insert(core.db, image_id=image, key=image, parent=parent, recipe=recipe, meta=META, now=now)
        for worker in core.world.workers.values():
            worker.images.add(image)
    app_n = core.world.apps[made["app"]].n
    sandboxes.add_memory(core.db, app_n, sandboxes.Memory(
        made["snapshot"], made["image"], made["app"], "", {}, {}, now, now + 600))  # fmt: skip
    proxies.insert(core.db, proxies.Row(made["proxy"], where, "p", "[]", now, "me"))
    core.terminals.by_id[made["terminal"]] = terminals.Terminal(made["terminal"], made["container"], "", None, None)
    core.turn.end()
    return made


def test_every_key_that_names_something_is_known_here():
    for method, known in methods.METHODS.items():
        for key in typing.get_type_hints(known.request) if known.roles & methods.CALLER else ():
            assert key in WHAT or not key.endswith(("_id", "_ids")), f"{method}: what is its {key}?"


def test_nothing_of_a_closed_environment_can_be_named(play):
    async def scene(platform):
        stage = await Scene(platform).begin()
        await stage.ask("environment.create", name="prod", default_role="no-access")
        things = await things_of(stage, "prod")
        core = platform.core
        made = await token(stage.client, "mia")
        ward = guard.Ward(identity.current(core, made["token_id"], core.clock.now()), None)
        stranger = guard.Ward(None, await outsider(stage))
        things["cluster"] = ids.new("cu")
        there = core.world.functions[things["function"]].clusters
        there[things["cluster"]] = clusters.Cluster(things["cluster"], 2)
        open_ones = []
        for method, key in CASES:
            for who in (ward, stranger):
                body = asked(method, key, things)
                try:
                    guard.check(core, who, method, body)
                    open_ones.append((method, key, who.name))
                except exception.NotFoundError as exc:
                    assert "role" not in str(exc)
        del there[things["cluster"]]  # it has no containers
        assert not open_ones

    play(scene)


async def outsider(stage):
    """A container of an app in the open environment."""
    stage.app = ids.new("ap")
    await stage.ask("app.create", app_id=stage.app, name="b", state="deployed")
    sandbox = await stage.create()
    await stage.until(sandbox, "running")
    return stage.platform.core.world.sandboxes[sandbox].container


def test_lists_and_descriptions_of_images_tell_nothing_of_closed_environments(play):
    async def scene(platform):
        stage = await Scene(platform).begin()
        await stage.ask("environment.create", name="prod", default_role="no-access")
        things = await things_of(stage, "prod")
        mia = await member(platform, stage.client, "mia")
        assert things["image"] in [one["image_id"] for one in (await stage.ask("image.list", all=True))["images"]]
        for everything in (True, False):
            shown = (await mia.request("image.list", all=everything))["images"]
            assert things["image"] not in [one["image_id"] for one in shown]
        for method in ("image.info", "image.get"):
            with pytest.raises(exception.NotFoundError):
                await mia.request(method, image_id=things["image"])

    play(scene)


def test_answers_about_everything_leave_out_what_is_closed(play):
    async def scene(platform):
        stage = await Scene(platform).begin()
        await stage.ask("environment.create", name="prod", default_role="no-access")
        things = await things_of(stage, "prod")
        mia = await member(platform, stage.client, "mia")
        await outsider(stage)
        assert things["app"] in [one["app_id"] for one in (await stage.ask("billing.report"))["rows"]]
        assert [one["app_id"] for one in (await mia.request("billing.report"))["rows"]] == [stage.app]
        # A call of an open environment may have made calls in a closed one.
        function = await stage.client.app()
        root = await stage.client.create(function, [1])
        await stage.client.create(things["function"], [1], parent_input_id=ids.input_id(root, 0))
        assert len((await stage.ask("call.graph", call_id=root))["nodes"]) == 2
        nodes = (await mia.request("call.graph", call_id=root))["nodes"]
        assert [one["call_id"] for one in nodes] == [root]

    play(scene)
