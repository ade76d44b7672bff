"""The description of all messages is true; what it allows, and much that it does not, is answered in a typed way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import Any

import fakes
import hypothesis
import pytest
from hypothesis import strategies as st

from windlass import exception, paths
from windlass.kit import ids
from windlass.server import compose, settings
from windlass.server.api import door, openapi
from windlass.server.state import machines
from windlass.wire.messages import methods

ROLES = ("user", "container", "runner")
"""Whose messages may be anything. The worker is a part of the platform: what it says is believed."""
_LONG = 0.25  # seconds to wait for an answer that may not come for long: streams that follow something
EXAMPLES = int(os.environ.get("WINDLASS_TEST_MESSAGES", 250))
"""Always the same ones; as many others as the variable says, where somebody wants to look deeper."""
DOCUMENT = openapi.document()
SCHEMAS = DOCUMENT["components"]["schemas"]
ASKED = [
    (name, role)
    for name, path in DOCUMENT["paths"].items()
    for role in ROLES
    if role in path["post"]["x-windlass-roles"] and name not in ("/hello", "/storage.gc")
]


def test_every_method_that_is_answered_is_described_and_every_reference_leads_somewhere():
    assert {f"/{name}" for name in methods.METHODS} | {"/hello"} == set(DOCUMENT["paths"])
    assert compose.API and set(methods.METHODS) == set(door.HANDLERS)

    def references(value: Any):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"].removeprefix("#/components/schemas/")
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    assert set(references(DOCUMENT)) <= set(SCHEMAS)
    create = DOCUMENT["paths"]["/call.create"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert create["required"] == ["call_id", "function_id"]
    json.dumps(DOCUMENT)


# -- bodies --------------------------------------------------------------------------------------------------


class Bodies:
    """Values for schemas. ``by_key``: what is there, by the key that names such things; the others are made up."""

    def __init__(self, by_key: dict[str, list[str]]) -> None:
        self._by_key = {key: st.sampled_from(values) for key, values in by_key.items()}
        known = sorted({value for values in by_key.values() for value in values})
        digest = "sha256:" + "0" * 64
        names = [ids.new("fc"), ids.new("ap"), "main", "", "x", "../..", "a" * 300, "\udc80", "\0", digest]
        self._text = st.sampled_from([*known, *known, *names]) | st.text(max_size=20)
        self._whole = st.sampled_from([0, 1, -1, 2, 2**31, 2**53, -(2**53), 2**70])
        self._any = st.recursive(
            st.none() | st.booleans() | self._whole | st.floats(width=32) | self._text,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=5,
        )

    def of(self, schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
        """Mostly what the schema says, now and then anything."""
        right = self._right(schema, depth)
        return st.integers(0, 39).flatmap(lambda n: self._any if n == 0 else right)

    def _right(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self.of(SCHEMAS[schema["$ref"].removeprefix("#/components/schemas/")], depth)
        if "allOf" in schema:
            ref = SCHEMAS[schema["allOf"][0]["$ref"].removeprefix("#/components/schemas/")]
            return self._right({**ref, "required": [*ref.get("required", ()), *schema["required"]]}, depth)
        if "anyOf" in schema:
            return st.one_of([self.of(one, depth) for one in schema["anyOf"]])
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return st.lists(self.of(schema.get("items", {}), depth + 1), max_size=2 if depth < 3 else 0)
        simple = {"string": self._text, "integer": self._whole, "boolean": st.booleans(), "null": st.none()}
        return simple.get(str(kind), st.floats() if kind == "number" else self._any)

    def _object(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        fields = schema.get("properties", {})
        if not fields:
            more = schema.get("additionalProperties", {})
            return st.dictionaries(self._text, self.of(more if isinstance(more, dict) else {}, depth + 1), max_size=2)
        needed = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {name: self._field(name, one, depth) for name, one in fields.items() if name in needed},
            optional={name: self._field(name, one, depth) for name, one in fields.items() if name not in needed},
        )

    def _field(self, name: str, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        usual, known = self.of(schema, depth + 1), self._by_key.get(name)
        return usual if known is None else st.integers(0, 4).flatmap(lambda n: usual if n == 0 else known)


# -- a server that hears them --------------------------------------------------------------------------------


class Heard:
    """A server with something of each kind, some of which nobody but the test names."""

    def __init__(self, home) -> None:
        self.loop = asyncio.new_event_loop()
        self.home = home
        self.stack = contextlib.AsyncExitStack()
        self.links: dict[str, Any] = {}
        self.recovered: list[BaseException] = []
        self.refused = self.answered = self.silent = 0

    def run(self, work):
        return self.loop.run_until_complete(work)

    async def open(self) -> None:
        self.core = await self.stack.enter_async_context(
            compose.server(settings.Settings(home=self.home, tick=0.05, app_silence=1e9))
        )
        before = self.core.turn.recover
        self.core.turn.recover = lambda exc: (self.recovered.append(exc), before(exc))
        self.worker = await fakes.Worker(self.home, lambda args, kwargs, lease: NotImplemented).start()
        self.client = await fakes.Client(self.home).start()
        self.secret_app = await self.client.app(tag="witness")
        self.witness = await self.client.request("dict.open", id=ids.new("di"), name="witness", create="missing")
        victim = await fakes.Client(self.home).start()
        function = await victim.app()
        call = await victim.create(function, [1], closed=True)
        made = [
            await victim.request(f"{kind}.open", id=ids.new(kind[:2]), name=f"victim-{kind}", create="missing")
            for kind in ("dict", "queue")
        ]
        volume = await victim.request("volume.get", name="victim", create="missing")
        while not any(c.held for c in self.core.world.containers.values()):
            await asyncio.sleep(0.01)
        (self.container,) = [c for c in self.core.world.containers.values() if c.held]
        self.known = {
            "app_id": [victim.app_id], "app": [victim.app_id], "function_id": [function], "call_id": [call],
            "input_id": list(self.container.held), "container_id": [self.container.id], "environment": ["main"],
            "volume_id": [volume["volume_id"]], "name": ["victim", "victim-dict", "victim-queue", "fresh"],
            "id": [*(one["id"] for one in made), ids.new("di"), ids.new("qu")], "create": ["missing", "never", "new"],
            "kind": ["remote", "map", "spawn", "gen"], "status": ["success", "failure", "item"], "tag": ["f"],
            "image_id": [fakes.SPEC["image_id"]], "secret_id": [ids.new("st")], "sandbox_id": [ids.new("sb")],
            "digest": ["sha256:" + "0" * 64], "deploy_id": [ids.new("de")], "node": ["n1"],
        }  # fmt: skip

    async def close(self) -> None:
        tasks = [*self.worker.tasks, *(task for one in self.worker.runners.values() for task in one.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.stack.aclose()

    async def link(self, role: str):
        """A connection of that role, made again where it was ended."""
        link = self.links.get(role)
        if link is None or not link.connected:
            hello: dict[str, Any] = {"role": role}
            if role != "user":
                container = next((c for c in self.core.world.containers.values() if c.alive), None)
                if container is None:
                    return None
                token = self.core.keyring.token(container.id)
                hello.update(container_id=container.id, token=token)
            place = paths.server_socket(self.home) if role == "user" else paths.containers_socket(self.home)
            link = self.links[role] = await fakes.connect(place, **hello)
        return link

    async def ask(self, name: str, role: str, body: Any, attachments: list[bytes]) -> None:
        link = await self.link(role)
        if link is None:
            return
        method = methods.METHODS[name]
        try:
            await asyncio.wait_for(_asked(link, method.kind, name, body, attachments), _LONG)
            self.answered += 1
        except asyncio.TimeoutError:
            self.silent += 1  # it follows something, or its answer is held back: the exchange was cancelled
        except exception.InternalError as exc:
            raise AssertionError(f"{name} of a {role} with {body!r}: {exc}") from exc
        except exception.Error:
            self.refused += 1

    async def check(self) -> None:
        """What nobody named is as it was, and the server works."""
        assert not self.recovered, self.recovered
        link = await self.link("user")
        found = await link.request("dict.open", {"id": ids.new("di"), "name": "witness"})
        assert found.body == self.witness
        assert self.secret_app in self.core.world.functions
        assert isinstance(self.core.world, machines.World) and not self.core.db.failed


async def _asked(link: Any, kind: str, name: str, body: Any, attachments: list[bytes]) -> None:
    if kind == "request":
        await link.request(name, body, attachments)
        return
    async with contextlib.aclosing(link.stream(name, body, attachments)) as items:
        async for _ in items:
            return


@pytest.fixture
def heard(home):
    server = Heard(home)
    try:
        server.run(server.open())
        yield server
    finally:
        server.run(server.close())
        server.loop.close()


def test_no_message_that_the_description_allows_or_nearly_allows_harms_the_server(heard):
    bodies = Bodies(heard.known)
    strategies = {
        name: bodies.of(DOCUMENT["paths"][name]["post"]["requestBody"]["content"]["application/json"]["schema"])
        for name, _ in ASKED
    }

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize="WINDLASS_TEST_MESSAGES" not in os.environ, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    @hypothesis.given(st.data())
    def talk(data: st.DataObject) -> None:
        path, role = data.draw(st.sampled_from(ASKED))
        body = data.draw(strategies[path])
        attachments = data.draw(st.lists(st.binary(max_size=8), max_size=2))
        heard.run(heard.ask(path[1:], role, body, attachments))

    talk()
    heard.run(heard.check())
    assert heard.answered > 30 and heard.refused > 60, (heard.answered, heard.refused, heard.silent)
