"""Users on other machines: a real server, a real client, both carriers, and networks that fail."""
from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time

import fakes
import pytest

import cutting
import windlass
from windlass import exception, wire
from windlass.client import blobs, outputs, session
from windlass.client.remote import keeper, place
from windlass.kit import ids
from windlass.wire import carriers, tether

PLAIN = {"listen": "127.0.0.1:0", "tls": "none"}
BOTH = pytest.mark.parametrize("scheme", ["ws", "http+post"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Impatient ends, so that a cut cable is noticed at once."""
    monkeypatch.setattr(tether, "BEAT", 0.1)
    monkeypatch.setattr(tether, "SILENCE", 0.3)
    monkeypatch.setattr(carriers, "POLL", 0.3)
    monkeypatch.setattr("windlass.client.remote.posts._SLACK", 0.3)
    monkeypatch.setattr("windlass.client.remote.dial.PATIENCE", 0.5)
    monkeypatch.setattr(keeper, "_passing", {})


def shown(platform) -> dict[str, str]:
    return json.loads((platform.home / "remote.shown.json").read_text())


def port_of(platform) -> int:
    return place.read(shown(platform)["url"]).port


async def token(platform) -> dict[str, str]:
    """Of the one member that these tests have; made by the owner, at the platform's own socket."""
    owner = await platform.client()
    made = await owner.request("token.create", token_id=ids.new("ak"), name="ada")
    owner.peer.close()
    return {"token_id": made["token_id"], "token_secret": made["secret"]}


@contextlib.asynccontextmanager
async def reached(url: str, own: dict[str, str], fingerprint: str = ""):
    hello = {"role": "user", "protocol": wire.PROTOCOL, "version": windlass.__version__, "client_id": ids.new("cl")}
    home = session.Session(session.elsewhere(url, hello, {"server_fingerprint": fingerprint, **own}))
    try:
        yield home
    finally:
        await home.close()


@contextlib.asynccontextmanager
async def through(platform, scheme: str, **about):
    """By a stretch of network, and the stretch."""
    async with (
        cutting.Stretch(port_of(platform), **about) as stretch,
        reached(f"{scheme}://127.0.0.1:{stretch.port}", await token(platform)) as home,
    ):
        yield stretch, home


async def app(home: session.Session) -> str:
    app_id, function = ids.new("ap"), ids.new("fu")
    await home.request("app.create", {"app_id": app_id, "name": None, "description": "t", "state": "ephemeral"})
    await home.request("function.create", {"app_id": app_id, "function_id": function, "spec": fakes.SPEC})
    await home.request("app.publish", {"app_id": app_id, "functions": {"f": function}})
    return function


def call(function: str, values: range) -> tuple[dict, list[bytes]]:
    import pickle

    data = [pickle.dumps(((value,), {})) for value in values]
    inputs = [{"index": n, "payload": {"at": n, "size": len(one)}} for n, one in enumerate(data)]
    create = {
        "call_id": ids.new("fc"), "function_id": function, "kind": "map", "parent_input_id": None, "inputs": inputs,
        "closed": True,
    }  # fmt: skip
    return create, data


async def results(home: session.Session, function: str, values: range) -> list:
    import pickle

    create, data = call(function, values)
    query = {"call_id": create["call_id"], "after": 0}
    found = {}
    async with contextlib.aclosing(outputs.follow(home, query, create, data)) as batches:
        async for batch, received in batches:
            for output in batch["outputs"]:
                assert output["index"] not in found, "an output came twice"
                found[output["index"]] = pickle.loads(received[output["value"]["at"]])
    return [found[n] for n in sorted(found)]


# -- who and where


@BOTH
def test_by_tls_with_a_pinned_certificate_both_carriers_do_what_a_socket_does(play, scheme):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0] + 1)
        about = shown(platform)
        scheme_of_tls = {"ws": "wss", "http+post": "https+post"}[scheme]
        own = await token(platform)
        url = about["url"].replace("https", scheme_of_tls) + "#sha256=" + about["fingerprint"]
        async with reached(url, own) as home:
            assert await results(home, await app(home), range(20)) == list(range(1, 21))
            large = random.Random(1).randbytes(3_000_000)
            digest = await blobs.store(home, large)
            assert await blobs.fetch(home, digest, len(large)) == large

    play(scene, listen="127.0.0.1:0")


def test_a_certificate_that_changed_and_one_that_nobody_vouches_for_are_told_with_the_next_step(play):
    async def scene(platform):
        about = shown(platform)
        async with reached(about["url"], await token(platform), "0" * 64) as home:
            with pytest.raises(exception.AuthError) as caught:
                await home.request("node.list", {})
            assert "0" * 64 in str(caught.value)
            assert about["fingerprint"] in str(caught.value)
            assert "server status" in caught.value.hint
        async with reached(about["url"], await token(platform)) as home:
            with pytest.raises(exception.AuthError, match="not trusted") as caught:
                await home.request("node.list", {})
            assert "server_fingerprint" in caught.value.hint

    play(scene, listen="127.0.0.1:0")


@BOTH
def test_a_wrong_token_is_refused_and_without_hello_nothing_is_answered(play, scheme):
    async def scene(platform):
        url = shown(platform)["url"].replace("http", scheme)
        async with reached(url, {**await token(platform), "token_secret": "as-wrong"}) as home:
            with pytest.raises(exception.AuthError):
                await home.request("node.list", {})
        where = place.read(url)
        stranger = await keeper.connect(where, home.tasks, lambda text: None)
        with pytest.raises(exception.AuthError, match="hello"):
            await stranger.request("app.list", {})
        stranger.close()

    play(scene, **PLAIN)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h", ("h", 443, True, "", ("websocket", "http"))),
        ("wss://h:8643/at/all/", ("h", 8643, True, "/at/all", ("websocket",))),
        ("http+post://[::1]:1", ("::1", 1, False, "", ("http",))),
    ],
)
def test_addresses_say_where_and_by_what(url, expected):
    assert tuple(place.read(url))[:5] == expected


@pytest.mark.parametrize(
    "url", ["", "h:1", "ftp://h", "https://", "https://h:x", "https://u:p@h", "http://h#" + "0" * 64]
)
def test_what_is_no_address_is_told(url):
    with pytest.raises(exception.InvalidError):
        place.read(url)


# -- networks


@BOTH
def test_a_cut_network_neither_loses_nor_doubles_anything(play, scheme, monkeypatch):
    """Calls, a map, a stream and an upload are under way while the cable is out; and once more when it is torn."""

    async def scene(platform):
        ran: list[int] = []

        async def work(args, kwargs, lease):
            ran.append(args[0])
            await asyncio.sleep(0.01)
            return args[0] * 2

        worker = await platform.worker(work)
        async with through(platform, scheme) as (stretch, home):
            function = await app(home)
            [app_id] = platform.core.world.apps
            owner = home.tasks
            shown_lines: list[str] = []

            async def follow():
                async for reply in home.stream("app.logs", {"app_id": app_id, "follow": True}):
                    shown_lines.extend(entry["text"] for entry in reply.body["entries"])

            owner.start(follow(), "logs")
            large = random.Random(2).randbytes(6_000_000)
            mapped = owner.start(results(home, function, range(150)), "map")
            stored = owner.start(blobs.store(home, large), "upload")
            while len(ran) < 20:
                await asyncio.sleep(0.005)
            container, *_ = worker.runners
            for n in range(2):
                stretch.cut = n == 0
                if n == 1:
                    stretch.breaks()
                alone = owner.start(results(home, function, range(1000 + n, 1001 + n)), "call")
                await worker.log(container, n + 1, f"line {n}\n")
                await asyncio.sleep(0.8 if n == 0 else 0.05)
                stretch.cut = False
                assert await alone == [2000 + 2 * n]
            assert await mapped == [2 * n for n in range(150)]
            assert sorted(ran) == [*range(150), 1000, 1001]
            assert await blobs.fetch(home, await stored, len(large)) == large
            while len(shown_lines) < 2:
                await asyncio.sleep(0.005)
            assert shown_lines == ["line 0\n", "line 1\n"]
            assert stretch.made > 1
            mine = home._address.hello["client_id"]
            assert mine not in platform.core.world.gone, "the server did not take the user for gone"

    play(scene, **PLAIN)


@BOTH
def test_a_restarted_server_is_found_again(play, scheme):
    async def scene(platform):
        async with through(platform, scheme) as (stretch, home):
            await home.request("node.list", {})
            await platform.stop()
            asked = home.tasks.start(home.request("app.list", {}), "question")
            await platform.start()
            stretch.target = port_of(platform)
            assert (await asked).body == {"apps": []}

    play(scene, **PLAIN)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", b""])
def test_where_websockets_do_not_pass_requests_do_and_that_is_remembered(play, answer):
    async def scene(platform):
        refuse = {b"Upgrade: websocket": answer or b"\r\n"}
        async with cutting.Stretch(port_of(platform), refuse=refuse) as stretch:
            url, own = f"http://127.0.0.1:{stretch.port}", await token(platform)
            for _ in range(2):
                async with reached(url, own) as home:
                    await home.request("node.list", {})
            assert list(keeper._passing.values()) == ["http"]
            async with reached(url.replace("http", "ws"), own) as home:
                keeper._passing.clear()
                with pytest.raises(exception.ConnectionError, match="no platform at"):
                    await home.request("node.list", {})

    play(scene, **PLAIN)


def test_a_call_takes_one_round_trip_and_little_more(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        async with cutting.Stretch(port_of(platform), delay=0.02) as stretch:
            for scheme in ("ws", "http+post"):
                async with reached(f"{scheme}://127.0.0.1:{stretch.port}", await token(platform)) as home:
                    function = await app(home)
                    await results(home, function, range(1))
                    took = []
                    for _ in range(7):
                        began = time.perf_counter()
                        await results(home, function, range(1))
                        took.append(time.perf_counter() - began)
                    assert 0.04 <= sorted(took)[2] < 0.06, took

    play(scene, **PLAIN)
