"""Users on other machines: a real server, a real client, both carriers, and networks that fail."""
from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import random
import time
from collections.abc import Iterable

import fakes
import pytest

import cutting
import ports
import windlass
from windlass import exception, wire
from windlass.client import address, blobs, direct, outputs, session
from windlass.client.remote import keeper, place, way
from windlass.kit import ids
from windlass.server.ingress.remote import lines
from windlass.wire import carriers, codec, tether, websocket

PLAIN = {"listen": "127.0.0.1:0", "tls": "none"}
BOTH = pytest.mark.parametrize("scheme", ["ws", "http+post"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Impatient ends, so that a cut cable is noticed at once."""
    monkeypatch.setattr(tether, "BEAT", 0.1)
    monkeypatch.setattr(tether, "SILENCE", 0.3)
    monkeypatch.setattr(carriers, "POLL", 0.3)
    monkeypatch.setattr("windlass.client.remote.posts._SLACK", 0.3)
    monkeypatch.setattr("windlass.client.remote.dial.PATIENCE", 1.5)
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
    hello.update(own)
    home = session.Session(address.elsewhere(url, hello, {"server_fingerprint": fingerprint, **own}))
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


def call(function: str, values: Iterable) -> tuple[dict, list[bytes]]:
    data = [pickle.dumps(((value,), {})) for value in values]
    inputs = [{"index": n, "payload": {"at": n, "size": len(one)}} for n, one in enumerate(data)]
    create = {
        "call_id": ids.new("fc"), "function_id": function, "kind": "map", "parent_input_id": None, "inputs": inputs,
        "closed": True,
    }  # fmt: skip
    return create, data


async def results(home: session.Session, function: str, values: range) -> list:
    create, data = call(function, values)
    query = {"call_id": create["call_id"], "after": 0}
    found = {}
    async with contextlib.aclosing(outputs.follow(home, query, create, data)) as batches:
        async for batch, received in batches:
            for output in batch["outputs"]:
                assert output["index"] not in found, "an output came twice"
                assert output["status"] == "success", output
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


def test_a_thread_asks_without_an_event_loop_by_a_websocket_of_its_own(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0] * 2)
        about, own = shown(platform), await token(platform)
        url = about["url"].replace("https", "wss") + "#sha256=" + about["fingerprint"]
        async with reached(url, own) as home:
            function = await app(home)
            line = await asyncio.to_thread(direct.opened, home._address, patience=20.0)
            for value in (1, "x" * 400_000, "y"):  # one is larger than a message of the carrier
                create, data = call(function, [value])
                frame = await asyncio.to_thread(line.first, "call.run", create, data)
                assert pickle.loads(frame.attachments[0]) == value * 2
            line.close()

    play(scene, listen="127.0.0.1:0")


def test_no_such_thread_goes_where_websockets_do_not_pass_or_another_certificate_is_shown(play):
    async def scene(platform):
        own = await token(platform)
        about = shown(platform)
        url = about["url"].replace("https", "https+post") + "#sha256=" + about["fingerprint"]
        async with reached(url, own) as home:
            await home.request("app.list", {})
            with pytest.raises(OSError, match="in between"):
                await asyncio.to_thread(direct.opened, home._address, patience=1.0)
        keeper._passing[place.read(about["url"]).origin] = place.SOCKET
        wrong = place.read(about["url"], "0" * 64)
        with pytest.raises(exception.AuthError, match="another certificate"):
            await asyncio.to_thread(way.connect, wrong)

    play(scene, listen="127.0.0.1:0")


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
            assert app_id in platform.core.world.apps, "nor the app for abandoned, whose heartbeats could not come"

    play(scene, **PLAIN, app_silence=0.3)


@BOTH
def test_who_comes_back_too_late_begins_anew_and_finds_his_calls_where_they_are(play, scheme, monkeypatch):
    monkeypatch.setattr("windlass.server.ingress.remote.listening._SWEEP", 0.02)

    async def scene(platform):
        ran: list[int] = []

        async def work(args, kwargs, lease):
            ran.append(args[0])
            await asyncio.sleep(0.02)
            return args[0]

        await platform.worker(work)
        async with through(platform, scheme) as (stretch, home):
            mapped = home.tasks.start(results(home, await app(home), range(100)), "map")
            mine = home._address.hello["client_id"]
            while len(ran) < 10:
                await asyncio.sleep(0.005)
            stretch.cut = True
            while mine not in platform.core.world.gone:
                await asyncio.sleep(0.01)
            stretch.cut = False
            assert await mapped == list(range(100))
            assert sorted(ran) == list(range(100))

    play(scene, **PLAIN, remote_keep=0.4)


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


def test_a_call_takes_one_round_trip_and_not_two(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        async with cutting.Stretch(port_of(platform), delay=0.06) as stretch:
            for scheme in ("ws", "http+post"):
                async with reached(f"{scheme}://127.0.0.1:{stretch.port}", await token(platform)) as home:
                    function = await app(home)
                    await results(home, function, range(1))
                    took = []
                    for _ in range(6):
                        began = time.perf_counter()
                        await results(home, function, range(1))
                        took.append(time.perf_counter() - began)
                    assert 0.12 <= min(took) < 0.23, took  # two would be 0.24

    play(scene, **PLAIN)


# -- whoever misbehaves


async def raw(platform, *pieces: bytes, seconds: float = 3.0) -> bytes:
    """What comes back for these bytes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(platform))
    try:
        for piece in pieces:
            writer.write(piece)
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()


def posted(end: str, body: bytes, key: str = "k" * 32, fresh: str = "1") -> bytes:
    head = f"POST {end} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"{head}{carriers.STREAM}: {key}\r\n{carriers.FRESH}: {fresh}\r\n\r\n".encode() + body


def upgrade(key: str = "k" * 32, got: str = "0", fresh: str = "1") -> bytes:
    return (
        f"GET /v1/socket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {websocket.new_key()}\r\n"
        f"{carriers.STREAM}: {key}\r\n{carriers.GOT}: {got}\r\n"
        f"{carriers.FRESH}: {fresh}\r\n\r\n"
    ).encode()


def piece(data: bytes, start: int = 0, got: int = 0, kind: int = tether.DATA) -> bytes:
    return tether.HEAD.pack(kind, start, got) + data


def refusal(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["status"]


def test_what_is_malformed_or_too_large_gets_a_typed_answer_and_an_end(play):
    async def scene(platform):
        gone, home_page = (410, "not_found"), b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert refusal(await raw(platform, posted("/v1/send", b"x"))) == (400, "invalid")
        assert refusal(await raw(platform, posted("/v1/send", piece(b"x", start=9)))) == (400, "invalid")
        assert refusal(await raw(platform, posted("/v1/send", piece(b""), key="short"))) == (400, "invalid")
        assert refusal(await raw(platform, posted("/v1/send", piece(b""), key="u" * 32, fresh="0"))) == gone
        assert refusal(await raw(platform, posted("/v1/send", bytes(tether.PIECE + 5000)))) == (413, "request_size")
        assert refusal(await raw(platform, upgrade(key="u" * 32, fresh="0"))) == gone
        assert refusal(await raw(platform, upgrade(got="-1"))) == gone
        assert refusal(await raw(platform, home_page)) == (404, "not_found")
        too_large = b"\x82\xff" + (tether.PIECE * 2).to_bytes(8, "big") + bytes(4)
        for frame, code in ((websocket.encode(b"unmasked"), 1002), (too_large, 1009)):
            end = (await raw(platform, upgrade(key=ids.new("k")), frame)).rpartition(b"\x88")[2]
            assert websocket.read_end(end[1:])[0] == code
        nonsense = websocket.encode(piece(b"\0\0\0\x02\0\0\0\0{}"), mask=True)
        assert b"malformed frame: no kind" in await raw(platform, upgrade(key=ids.new("k")), nonsense)

    play(scene, **PLAIN)


def test_who_is_slow_or_silent_or_comes_too_often_does_not_stay(play, monkeypatch):
    monkeypatch.setattr("windlass.server.ingress.remote.listening._HEAD", 0.2)
    monkeypatch.setattr("windlass.server.ingress.remote.requests._BODY", 0.2)
    monkeypatch.setattr("windlass.server.ingress.remote.lines._GREETING", 0.2)

    async def scene(platform):
        assert b" 408 " in await raw(platform, b"POST /v1/send HTTP/1.1\r\nHos")
        assert refusal(await raw(platform, posted("/v1/send", bytes(100))[:-50])) == (400, "invalid")
        silent = await raw(platform, upgrade(key=ids.new("k")))
        assert silent.startswith(b"HTTP/1.1 101 ")
        own = await token(platform)
        url = shown(platform)["url"]
        async with reached(url, own) as one, reached(url, own) as two, reached(url, own) as three:
            await one.request("node.list", {})
            await two.request("node.list", {})
            with pytest.raises(exception.ResourceExhaustedError, match="2 connections already"):
                await three.request("node.list", {})

    play(scene, **PLAIN, remote_lines_each=2)


def test_no_nonsense_on_either_carrier_ends_the_server_or_shows_what_is_anothers(play):
    """Seeded: bytes that are none of HTTP, WebSockets, pieces or frames; and good ones, changed a little."""

    async def scene(platform):
        chance = random.Random(8)
        good = codec.pack({"k": "q", "i": 1, "m": "app.list", "b": {}})[0]
        async with reached(shown(platform)["url"], await token(platform)) as home:
            await app(home)

            def changed(data: bytes) -> bytes:
                mixed = bytearray(data)
                for _ in range(chance.randint(1, 6)):
                    mixed[chance.randrange(len(mixed))] = chance.randrange(256)
                return bytes(mixed[: chance.randint(1, len(mixed))] if chance.random() < 0.3 else mixed)

            async def attack() -> None:
                key = ids.new("k")
                carried = piece(changed(good) if chance.random() < 0.7 else chance.randbytes(40))
                kind = chance.randrange(4)
                if kind == 0:
                    sent = [chance.randbytes(chance.randint(1, 400))]
                elif kind == 1:
                    sent = [changed(posted(chance.choice(("/v1/send", "/v1/receive")), carried, key))]
                elif kind == 2:
                    sent = [upgrade(key), changed(websocket.encode(carried, mask=True))]
                else:
                    sent = [upgrade(key), websocket.encode(carried, mask=True), chance.randbytes(30)]
                with contextlib.suppress(asyncio.TimeoutError, OSError):
                    answer = await raw(platform, *sent, seconds=0.25)
                    assert home._address.hello["client_id"].encode() not in answer
                    assert b"ap-" not in answer

            for _ in range(8):
                await asyncio.gather(*(attack() for _ in range(25)))
            assert (await home.request("app.list", {})).body["apps"], "the good client is served as before"

    play(scene, **PLAIN)


def test_addresses_of_web_functions_carry_a_host_that_others_can_reach(play):
    from windlass.server.apply import web as actions

    async def scene(platform):
        port = platform.core.web.port
        assert actions.url(platform.core, "local--here") == f"http://gpu.example.org:{port}/~local--here"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /~nothing HTTP/1.1\r\nHost: gpu.example.org\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")

    play(scene, web_port=0, web_host="0.0.0.0", web_name="gpu.example.org")


def test_whoever_stands_before_the_platform_may_ask_for_its_health_but_not_for_reasons(play):
    async def scene(platform):
        def asked(path: str, method: str = "GET") -> bytes:
            return f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()

        alive = await raw(platform, asked("/healthz"))
        assert alive.startswith(b"HTTP/1.1 200 ") and alive.endswith(b'{"state": "alive"}\n')
        unready = await raw(platform, asked("/windlass/readyz"))  # behind the prefix of a proxy
        assert unready.startswith(b"HTTP/1.1 503 ") and unready.endswith(b'{"state": "not ready"}\n')
        await platform.worker(lambda *_: 1)
        assert (await raw(platform, asked("/readyz"))).startswith(b"HTTP/1.1 200 ")
        assert (await raw(platform, asked("/readyz", "POST"))).startswith(b"HTTP/1.1 405 ")
        assert (await raw(platform, asked("/metrics"))).startswith(b"HTTP/1.1 404 ")

    play(scene, **PLAIN)


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.0/8", "198.51.100.7"), ("10.0.0.1", "127.0.0.1")])
def test_who_asks_is_whom_a_trusted_proxy_names(play, monkeypatch, trusted, seen):
    found, find = [], lines.Lines.find
    monkeypatch.setattr(lines.Lines, "find", lambda self, key, remote, **how: (
        found.append(remote) or find(self, key, remote, **how)
    ))  # fmt: skip

    async def scene(platform):
        body = b'{"name": "laptop"}'
        head = f"Host: h\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.7\r\nContent-Length: {len(body)}\r\n\r\n"
        said = await raw(platform, b"POST /-/token/flows HTTP/1.1\r\n" + head.encode() + body)
        page = json.loads(said.rpartition(b"\r\n\r\n")[2])["page"]
        shown = await raw(platform, f"GET {page} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert f"asks for a token, from {seen}.".encode() in shown
        begun, rest = posted("/v1/send", piece(b"")).split(b"\r\n", 1)
        await raw(platform, begun + b"\r\nX-Forwarded-For: 198.51.100.7\r\n" + rest)
        assert found == [seen]

    play(scene, web_trusted=trusted, **PLAIN)


def test_of_several_addresses_the_first_that_answers_counts(play):
    async def scene(platform):
        own, port = await token(platform), port_of(platform)
        with ports.reserved() as nobody:
            urls = f"http://127.0.0.1:{nobody}, ws://127.0.0.1:{port},http://127.0.0.1:{port}"
            async with reached(urls, own) as home:
                assert (await home.request("identity.whoami", {})).body["name"]
                assert f"http://127.0.0.1:{nobody}, http://127.0.0.1:{port}" in home._address.shown
                side = await asyncio.to_thread(direct.opened, home._address, patience=5.0)  # as a lane does
                side.close()
            with pytest.raises(exception.InvalidError, match="no address"):
                address.elsewhere(f"http://127.0.0.1:{port},", {"token_id": "x"}, {"server_fingerprint": ""})

    play(scene, **PLAIN)
