"""Who comes with a token may do what their role says, in the environments that are theirs, and nothing is revealed."""
from __future__ import annotations

import asyncio
import contextlib

import fakes
import pytest
import sites
from fakes import SPEC, Client, connect
from test_containers_life import keep, until

from windlass import exception, paths, wire
from windlass.client import address, outputs, session
from windlass.kit import ids
from windlass.server.decide import rights
from windlass.server.loops import garbage
from windlass.server.store import identity as rows
from windlass.wire.messages import methods

DENIED, MISSING, AUTH = exception.PermissionDeniedError, exception.NotFoundError, exception.AuthError


async def token(owner, name: str, **more) -> dict:
    return await owner.request("token.create", token_id=ids.new("ak"), name=name, **more)


async def enter(platform, made: dict, secret: str | None = None) -> Client:
    """A client that shows a token."""
    client = Client(platform.home)
    client.token = made
    client.peer = await connect(
        paths.server_socket(platform.home), role="user", client_id=client.client_id,
        token_id=made["token_id"], token_secret=secret or made["secret"],
    )
    return client


async def member(platform, owner, name: str, **more) -> Client:
    return await enter(platform, await token(owner, name, **more))


def deployment(environment: str = "", secrets=(), name: str = "shop") -> dict:
    spec = {**SPEC, "tag": "f", "secrets": list(secrets)}
    return {
        "app_id": ids.new("ap"), "deploy_id": ids.new("de"), "name": name, "local_name": name,
        "functions": {"f": {"function_id": ids.new("fu"), "spec": spec}},
        "environment": environment,
    }  # fmt: skip


@contextlib.asynccontextmanager
async def refused(kind, *words: str):
    with pytest.raises(kind) as caught:
        yield
    for word in words:
        assert word in str(caught.value) + caught.value.hint, caught.value


def test_roles_say_what_each_may_do(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0] * 2)
        owner = await platform.client()
        me = await owner.request("identity.whoami")
        assert (me["kind"], me["token_id"], me["environments"]) == ("owner", "", {"main": "contributor"})
        maker, viewer = await member(platform, owner, "mia"), await member(platform, owner, "vic", kind="viewer")
        boss = await member(platform, owner, "moe", kind="manager")
        app = await maker.request("app.deploy", **deployment(), facts={"by": "somebody else"})
        assert (await viewer.request("app.history", app_id=app["app_id"]))["versions"][0]["facts"]["by"] == "mia"
        function = app["functions"]["f"]["function_id"]
        assert (await maker.run(function, [4]))[0]["data"] == 8
        assert [one["app_id"] for one in (await viewer.request("billing.report", resolution="total"))["rows"]] == [
            app["app_id"]
        ]
        # A viewer sees, and changes nothing; what they lack is said.
        assert (await viewer.request("app.get", app="shop"))["app_id"] == app["app_id"]
        assert (await viewer.request("container.list"))["containers"]
        async with refused(DENIED, "app.deploy", "contributor", "'main'", "vic is a viewer", "roles update"):
            await viewer.request("app.deploy", **deployment())
        for method, body in {
            "app.create": {"app_id": ids.new("ap")}, "app.stop": {"app_id": app["app_id"]},
            "secret.create": {"secret_id": ids.new("st"), "env": {"A": "1"}},
            "dict.open": {"id": ids.new("di"), "name": "d", "create": "missing"},
            "volume.get": {"name": "v", "create": "missing"}, "function.autoscaler": {"function_id": function},
            "container.exec": {"exec_id": "x", "container_id": ids.new("ta"), "command": ["id"], "pty": False},
            "environment.create": {"name": "mine"}, "token.create": {"token_id": ids.new("ak"), "name": "vic"},
            "audit.list": {}, "proxy_token.list": {}, "image.prune": {}, "domain.add": {"domain": "a.b"},
        }.items():  # fmt: skip
            async with refused(DENIED):
                await viewer.request(method, **body)
        async with refused(DENIED):
            await viewer.run(function, [1])
        # What is looked up by its id is not made; what would be made has many forms.
        for method in ("volume.get", "nfs.get"):
            there = await maker.request(method, name="there", create="missing")
            assert await viewer.request(method, volume_id=there["volume_id"]) == there
            assert await viewer.request(method, name="there") == there
            for making in ({"name": "v", "create": "never"}, {"name": "v", "ephemeral": True}, {"ephemeral": True}):
                async with refused(DENIED, "contributor"):
                    await viewer.request(method, **making)
        async with refused(DENIED, "owner or manager"):
            await maker.request("environment.create", name="x")
        # Managers administer, but have no power over owners.
        await boss.request("environment.create", name="made")
        async with refused(DENIED, "only an owner"):
            await token(boss, "oda", kind="owner")
        await token(owner, "oda", kind="owner")
        async with refused(DENIED, "only an owner"):
            await boss.request("member.remove", member="oda")
        # Another role counts at once, for connections that are open.
        await boss.request("member.update", member="vic", kind="member")
        assert (await viewer.run(function, [5]))[0]["data"] == 10
        assert (await viewer.request("token.list"))["tokens"][0]["name"] == "vic"
        assert {one["name"] for one in (await boss.request("token.list"))["tokens"]} == {"mia", "vic", "moe", "oda"}

    play(scene)


def test_a_restricted_environment_is_not_there_for_others(play):
    async def scene(platform):
        await platform.worker(keep)
        owner = await platform.client()
        await owner.request("environment.create", name="prod", default_role="no-access")
        await owner.request("secret.store", secret_id=ids.new("st"), name="key", env={"K": "1"}, environment="prod",
                            op=1, low=0)  # fmt: skip
        secret = (await owner.request("secret.get", name="key", environment="prod"))["secret_id"]
        app = await owner.request("app.deploy", **deployment("prod"))
        function = app["functions"]["f"]["function_id"]
        mia = await member(platform, owner, "mia")
        # As if it were not there: the same error as for what does not exist.
        for method, body in {
            "app.get": {"app": "shop", "environment": "prod"}, "app.list": {"environment": "prod"},
            "secret.get": {"name": "key", "environment": "prod"}, "function.get": {"function_id": function},
            "environment.roles": {"name": "prod"}, "app.stop": {"app_id": app["app_id"]},
            "secret.update": {"secret_id": secret, "env": {"K": "2"}, "op": 2, "low": 0},
            "dict.open": {"id": ids.new("di"), "name": "d", "environment": "prod", "create": "missing"},
        }.items():  # fmt: skip
            async with refused(MISSING):
                await mia.request(method, **body)
        async with refused(MISSING) as _:
            await mia.run(function, [1])
        texts = []
        for name in ("prod", "none"):
            with pytest.raises(MISSING) as caught:
                await mia.request("app.list", environment=name)
            texts.append(str(caught.value).replace(name, "_"))
        assert texts[0] == texts[1]
        # Nor by what is said to somebody who may do it nowhere.
        vic, texts = await member(platform, owner, "vic", kind="viewer"), []
        for name, app_id in (("prod", app["app_id"]), ("none", ids.new("ap"))):
            making = {"app_id": ids.new("ap"), "name": "a", "state": "deployed", "environment": name}
            for method, body in {"app.create": making, "app.stop": {"app_id": app_id}}.items():
                with pytest.raises(DENIED) as caught:
                    await vic.request(method, **body)
                texts.append(str(caught.value))
        assert texts[:2] == texts[2:]
        await owner.request("member.remove", member="vic")
        # Not by a spec that wants a secret of it, nor by a deployment that hides where it goes.
        async with refused(MISSING):
            await mia.request("app.deploy", **deployment(secrets=[secret]))
        # Lists are cut.
        assert [one["name"] for one in (await mia.request("environment.list"))["environments"]] == ["main"]
        assert (await mia.request("app.list"))["apps"] == []
        assert len((await owner.request("app.list"))["apps"]) == 1
        async with refused(DENIED):
            await mia.request("storage.usage")
        await owner.request("environment.set_role", name="prod", member="mia", role="no-access")
        assert (await mia.request("member.list"))["members"][0]["environments"] == {}
        assert (await owner.request("member.list"))["members"][0]["environments"] == {"prod": "no-access"}
        # A viewer there reads, but takes no secret into an app elsewhere.
        await owner.request("environment.set_role", name="prod", member="mia", role="viewer")
        assert (await mia.request("secret.get", name="key", environment="prod"))["keys"] == ["K"]
        async with refused(DENIED, "'prod'", "viewer"):
            await mia.request("app.deploy", **deployment(secrets=[secret]))
        await owner.request("environment.set_role", name="prod", member="mia", role="contributor")
        assert (await mia.request("app.deploy", **deployment("prod", [secret], "more")))["version"] == 1
        roles = await mia.request("environment.roles", name="prod")
        assert roles == {"default_role": "no-access", "roles": {"mia": "contributor"},
                         "effective": {"mia": "contributor"}}  # fmt: skip
        # The environment that is meant where none is named may be closed, too.
        await owner.request("environment.set_role", name="main", role="no-access")
        async with refused(MISSING, "no environment 'main'"):
            await mia.request("secret.get", name="key")
        async with refused(MISSING, "no image"):
            await mia.request("image.get", image_id=ids.new("im"))
        async with refused(MISSING, "no environment 'main'"):
            await mia.request("volume.get", create=app["app_id"], ephemeral=True)
        await owner.request("environment.set_role", name="main", role="contributor")
        # Its name may change, the roles stay; with the environment they go.
        await owner.request("environment.update", name="prod", set_name="live")
        assert (await mia.request("identity.whoami"))["environments"] == {"main": "contributor", "live": "contributor"}
        await owner.request("environment.set_role", name="live", member="mia", role="")
        assert "live" not in (await mia.request("identity.whoami"))["environments"]

    play(scene)


def test_containers_are_of_the_environment_of_their_app(play):
    async def scene(platform):
        worker, owner = await platform.worker(keep), await platform.client()
        await owner.request("environment.create", name="prod", default_role="no-access")
        await owner.request("environment.create", name="dev")
        await owner.request("dict.open", id=ids.new("di"), name="d", environment="prod", create="missing")
        apps = {}
        for where in ("prod", "dev"):
            apps[where] = (await owner.request("app.deploy", **deployment(where)))["functions"]["f"]["function_id"]
            await owner.create(apps[where], [1])
        await until(lambda: len(worker.runners) == 2)

        def plan(where):
            return next(one for one in worker.plans if one["function_id"] == apps[where])

        inside = {}
        for where in ("prod", "dev"):
            inside[where] = Client(platform.home)
            inside[where].peer = await connect(
                paths.containers_socket(platform.home), role="container", token=plan(where)["token"],
                container_id=plan(where)["container_id"],
            )
        found = await inside["prod"].request("dict.open", id=ids.new("di"), name="d", environment="prod")
        assert found["name"] == "d"
        async with refused(MISSING, "no environment 'prod'"):
            await inside["dev"].request("dict.open", id=ids.new("di"), name="d", environment="prod")
        async with refused(MISSING):
            await inside["dev"].request("dict.len", id=found["id"])
        async with refused(MISSING):
            await inside["dev"].run(apps["prod"], [1])
        named = (await inside["dev"].request("environment.list"))["environments"]
        assert [one["name"] for one in named] == ["main", "dev"]
        await inside["dev"].request("dict.open", id=ids.new("di"), name="e", environment="main", create="missing")
        wish = {"app_id": ids.new("ap"), "name": "agents", "state": "deployed"}
        async with refused(MISSING, "no environment 'prod'"):
            await inside["dev"].request("app.create", **wish, environment="prod")
        async with refused(DENIED, "an app of its own", "create_if_missing"):
            await inside["dev"].request("app.create", app_id=ids.new("ap"), state="ephemeral", environment="dev")
        made = await inside["dev"].request("app.create", **wish, environment="dev")
        assert (await owner.request("app.get", app="agents", environment="dev"))["app_id"] == made["app_id"]

    play(scene)


def test_a_token_is_good_until_it_expires_is_revoked_or_has_another_secret(play):
    async def scene(platform):
        owner, clock = await platform.client(), platform.core.clock
        made = await token(owner, "mia", expires_in=3600.0)
        tried = [(made["token_id"], "as-x"), (ids.new("ak"), made["secret"]), (made["token_id"], "é" * 9)]
        for token_id, secret in tried:
            async with refused(AUTH, "not valid", "windlass token"):
                await enter(platform, {"token_id": token_id}, secret)
        stored = str(rows.tokens(platform.core.db))
        assert made["secret"] not in stored and made["token_id"] in stored
        mia = await enter(platform, made)
        # Another secret: the old one is good for as long as it takes to hear of the new one.
        async with refused(exception.PermissionDeniedError, "longer than it was made for", "--expires-in"):
            await mia.request("token.rotate", expires_in=7200.0)
        fresh = await mia.request("token.rotate")
        assert fresh["token_id"] == made["token_id"] and fresh["secret"] != made["secret"]
        assert fresh["expires_at"] == made["expires_at"]
        await enter(platform, made)
        now = clock.now
        clock.now = lambda: now() + 61
        async with refused(AUTH):
            await enter(platform, made)
        assert (await (await enter(platform, fresh)).request("identity.whoami"))["name"] == "mia"
        # The server's clock alone says when it is over, also for connections that are open.
        clock.now = lambda: now() + 7300
        async with refused(AUTH, "expired"):
            await mia.request("app.list")
        async with refused(AUTH, "expired"):
            await enter(platform, fresh)
        garbage.look(platform.core)
        await until(lambda: not platform.core.identity.connected)
        clock.now = now
        # Revoked: the connections end.
        mia = await enter(platform, fresh)
        zoe = await member(platform, owner, "zoe")
        async with refused(MISSING):
            await zoe.request("token.revoke", token_id=made["token_id"])
        await owner.request("token.revoke", token_id=made["token_id"])
        await until(lambda: not mia.peer.connected)
        async with refused(AUTH, "revoked"):
            await enter(platform, fresh)
        assert {one["name"]: one["state"] for one in (await owner.request("token.list"))["tokens"]} == {
            "mia": "revoked", "zoe": "valid",
        }  # fmt: skip
        await owner.app()
        query = {"app_id": owner.app_id, "follow": True}
        following = asyncio.ensure_future(anext(zoe.peer.stream("app.logs", query)))
        await zoe.request("app.list")
        await owner.request("member.remove", member="zoe")
        async with refused(AUTH, "revoked", "windlass token"):  # not that a connection was lost
            await following
        await until(lambda: not zoe.peer.connected)

    play(scene)


def test_whoever_has_a_token_and_no_role_yet_knows_themselves_and_nothing_else(play):
    async def scene(platform):
        owner = await platform.client()
        await owner.request("environment.create", name="prod", default_role="no-access")
        ida = await member(platform, owner, "ida", environments=["prod"])
        me = await ida.request("identity.whoami")
        assert (me["name"], me["environments"]) == ("ida", {})
        assert [one["token_id"] for one in (await ida.request("token.list"))["tokens"]] == [me["token_id"]]
        async with refused(DENIED, "a role in an environment"):
            await ida.request("environment.list")
        await owner.request("environment.set_role", name="prod", member="ida", role="contributor")
        assert (await ida.request("identity.whoami"))["environments"] == {"prod": "contributor"}
        await owner.request("environment.set_role", name="prod", member="ida", role="")
        await ida.request("token.revoke", token_id=me["token_id"])

    play(scene)


def test_a_token_for_some_environments_is_none_for_others(play):
    async def scene(platform):
        owner = await platform.client()
        await owner.request("environment.create", name="dev")
        async with refused(MISSING, "'none'"):
            await token(owner, "ci", kind="service", environments=["none"])
        ci = await member(platform, owner, "ci", kind="service", environments=["dev"])
        assert (await ci.request("identity.whoami"))["environments"] == {"dev": "contributor"}
        await ci.request("app.deploy", **deployment("dev"))
        async with refused(MISSING, "'main'"):
            await ci.request("app.deploy", **deployment())
        boss = await member(platform, owner, "moe", kind="owner", environments=["dev"])
        async with refused(DENIED):
            await boss.request("token.create", token_id=ids.new("ak"), name="eve", kind="owner")
        for name, kind, error in (
            ("ci", "member", exception.ConflictError), ("eve", "king", exception.InvalidError),
            ("a b", "member", exception.InvalidError),
        ):  # fmt: skip
            with pytest.raises(error):
                await token(owner, name, kind=kind)
        with pytest.raises(exception.InvalidError):
            await token(owner, "eve", expires_in=-1.0)

    play(scene)


def test_a_door_to_the_outside_lets_nobody_in_without_a_token(play):
    async def scene(platform):
        from windlass.server.api import door

        path = platform.home / "outside.sock"
        outside = door.Door(platform.core, frozenset({"user"}), set(), trusted=False)
        listener = await asyncio.get_running_loop().create_unix_server(outside.connection, str(path))
        async with refused(AUTH, "wants a token", "token set"):
            await connect(path, role="user")
        made = await token(await platform.client(), "mia")
        await connect(path, role="user", token_id=made["token_id"], token_secret=made["secret"])
        async with refused(DENIED):
            await connect(path, role="worker", token_id=made["token_id"], token_secret=made["secret"])
        listener.close()

    play(scene)


def test_the_audit_log_says_who_did_what_and_forgets_only_what_is_old(play):
    async def scene(platform):
        owner = await platform.client()
        made = await token(owner, "vic", kind="viewer")
        vic = await enter(platform, made)
        for _ in range(3):
            async with refused(DENIED):
                await vic.request("app.stop", app_id=ids.new("ap"))
        await owner.request("secret.store", secret_id=ids.new("st"), name="key", env={"K": "hush"}, op=1, low=0)
        async with refused(AUTH):
            await enter(platform, made, "as-wrong")
        entries = (await owner.request("audit.list"))["entries"]
        assert [(one["name"], one["action"], one["target"], one["outcome"]) for one in reversed(entries)] == [
            ("local", "token.create", "vic", "done"), ("vic", "app.stop", entries[2]["target"], "denied"),
            ("local", "secret.store", "key", "done"), ("?", "hello", made["token_id"], "denied"),
        ]  # fmt: skip
        assert [one["environment"] for one in reversed(entries)] == ["", "", "main", ""]
        assert all("this machine, user" in one["source"] for one in entries)
        assert "hush" not in str(entries) and made["secret"] not in str(entries)
        assert [one["action"] for one in (await owner.request("audit.list", member="vic"))["entries"]] == ["app.stop"]
        assert len((await owner.request("audit.list", action="secret.*", limit=5))["entries"]) == 1
        with pytest.raises(exception.InternalError, match="append-only"):
            platform.core.db.run("UPDATE audit SET name = 'eve'")
        platform.core.db.failed = None
        assert not rows.forget_audit(platform.core.db, entries[1]["at"])
        assert len((await owner.request("audit.list"))["entries"]) == 2

    play(scene)


def test_who_asks_too_fast_is_told_when_to_come_back(play, monkeypatch):
    async def scene(platform):
        owner = await platform.client()
        vic = await member(platform, owner, "vic", kind="viewer")
        for _ in range(10):
            await vic.request("app.list")
        with pytest.raises(exception.ThrottledError, match="5 times a second") as caught:
            while True:  # a slow machine has earned some more by now
                await vic.request("app.list")
        assert 0 < caught.value.retry_after <= 0.2
        assert isinstance(caught.value, exception.ResourceExhaustedError)
        for _ in range(20):
            await owner.request("app.list")
        # The library waits as long as it is told, up to a limit.
        hello = {"role": "user", "protocol": wire.PROTOCOL, "version": "t", "client_id": ids.new("cl")}
        hello.update(token_id=vic.token["token_id"], token_secret=vic.token["secret"])
        home = session.Session(address.Address(str(paths.server_socket(platform.home)), hello, autostart=False))
        for _ in range(3):
            await home.request("app.list", {})
        assert home.hello is not None
        for _ in range(3):
            with pytest.raises(DENIED):  # not throttled, the way of `.remote()`
                await outputs.first(home, {"call_id": ids.new("fc"), "function_id": ids.new("fu")}, [])
        monkeypatch.setenv("WINDLASS_MAX_THROTTLE_WAIT", "0")
        with pytest.raises(exception.ThrottledError):
            for _ in range(20):
                await home.request("app.list", {})
        await home.close()

    play(scene, principal_rate=5.0, principal_burst=2.0)


def test_every_right_is_of_a_method_that_there_is():
    known = {name for name, one in methods.METHODS.items() if one.roles & methods.CALLER}
    for table in (rights.READ, rights.OWN, rights.DEPLOY, rights.ADMIN, rights.AUDITED, rights.UNPACED):
        assert table <= known, table - known
    assert not rights.READ & rights.ADMIN and not rights.READ & rights.DEPLOY
    assert rights.needed("something.new", {}) == "write"
    open_to_containers = {name for name in rights.ADMIN if "container" in methods.METHODS[name].roles}
    assert not open_to_containers, "containers are no administrators"


@pytest.mark.parametrize(
    ("kind", "own", "outside", "default", "found"),
    [
        ("member", None, False, "contributor", "contributor"), ("member", None, False, "no-access", "no-access"),
        ("member", "viewer", False, "contributor", "viewer"), ("viewer", None, False, "contributor", "viewer"),
        ("viewer", None, False, "no-access", "no-access"), ("viewer", "contributor", False, "no-access", "contributor"),
        ("manager", "viewer", False, "no-access", "contributor"), ("owner", None, True, "contributor", "no-access"),
        ("service", "contributor", True, "contributor", "no-access"),
    ],
)  # fmt: skip
def test_what_somebody_is_in_an_environment(kind, own, outside, default, found):
    assert rights.role(kind=kind, own=own, outside=outside, default=default) == found


def test_a_token_for_some_environments_takes_no_other_token_over(play):
    async def scene(platform):
        owner = await platform.client()
        await owner.request("environment.create", name="dev")
        whole = await token(owner, "moe", kind="owner")
        narrow = await token(owner, "moe", environments=["dev"])
        wide = await token(owner, "moe", environments=["dev", "main"])
        moe = await enter(platform, narrow)
        for made in (whole, wide):
            for method in ("token.rotate", "token.revoke"):
                async with refused(MISSING, "no token"):
                    await moe.request(method, token_id=made["token_id"])
        assert [one["token_id"] for one in (await moe.request("token.list"))["tokens"]] == [narrow["token_id"]]
        assert (await moe.request("token.rotate"))["token_id"] == narrow["token_id"]
        assert len((await (await enter(platform, whole)).request("token.list"))["tokens"]) == 3
        assert (await (await enter(platform, wide)).request("token.rotate", token_id=narrow["token_id"]))["secret"]

    play(scene)


def test_lists_of_machines_and_domains_do_not_tell_of_environments_that_are_closed(play):
    async def scene(platform):
        owner = await platform.client()
        await owner.request("environment.create", name="prod", default_role="no-access")
        mia = await member(platform, owner, "mia")
        worker = fakes.Worker(platform.home, keep)
        worker.gpus = [{"gpu_id": "g0", "kind": "T4", "model": "T4", "memory": 16}]
        await worker.start()
        for name in ("free.example.org", "prod.example.org", "*.prod.example.org"):
            await owner.request("domain.add", domain=name)
        body = deployment("prod")
        part = body["functions"]["f"]
        part["spec"] = {
            **part["spec"], "gpus": [{"kind": "T4", "count": 1}],
            "web": {**sites.ASGI, "custom_domains": ["prod.example.org", "a.prod.example.org"]},
        }  # fmt: skip
        await owner.request("app.deploy", **body)
        function = platform.core.world.functions[part["function_id"]]
        function.autoscaler["min_containers"] = 1
        await until(lambda: any(one.gpus for one in function.containers.values()))

        async def seen(client) -> tuple[list[str], str]:
            domains = [one["domain"] for one in (await client.request("domain.list"))["domains"]]
            return domains, (await client.request("node.list"))["nodes"][0]["gpus"][0]["held_by"]

        assert await seen(mia) == (["free.example.org"], "another environment")
        holder = next(iter(function.containers))
        assert await seen(owner) == (["*.prod.example.org", "free.example.org", "prod.example.org"], holder)

    play(scene, web_port=0)


def test_results_of_a_stopped_app_of_a_closed_environment_are_closed_too(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        owner = await platform.client()
        await owner.request("environment.create", name="prod", default_role="no-access")
        app = await owner.request("app.deploy", **deployment("prod"))
        function = app["functions"]["f"]["function_id"]
        call_id = await owner.create(function, [5])
        assert [output["data"] for output in await owner.outputs(call_id)] == [5]
        await owner.request("app.stop", app_id=app["app_id"])
        world = platform.core.world
        await until(lambda: function not in world.functions)
        if (call := world.calls.pop(call_id[3:19], None)) is not None:
            del world.calls_by_n[call.n]  # as after a restart, or some time
        mia = await member(platform, owner, "mia")
        for method in ("call.get", "call.outputs"):
            with pytest.raises(exception.NotFoundError):
                await mia.request(method, call_id=call_id)
        assert [output["data"] for output in await owner.outputs(call_id)] == [5]

    play(scene)
