"""The edge: what it does with requests of any kind, with a real server and fake runners."""
from __future__ import annotations

import asyncio
import json
import random
import ssl
import types
from unittest import mock

import fakes
import pytest
import sites

from windlass import exception, paths
from windlass.kit import ids
from windlass.server.ingress import edge, express, listener, sockets
from windlass.server.objects import authority
from windlass.wire import web

HOST = b"Host: local--here-dev.localhost\r\n"


async def standing(platform) -> tuple[sites.Site, fakes.Client]:
    site = sites.Site()
    site.worker = await platform.worker(site.work)
    client = await platform.client()
    await client.app(web=sites.ASGI, concurrency={"max_inputs": 100, "target_inputs": 100})
    return site, client


async def sent(platform, *pieces: bytes, pause: float = 0.0, seconds: float = 8.0) -> bytes:
    """What comes back for these bytes, until the edge closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def request(path: bytes = b"/", more: bytes = b"", body: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + more + b"Connection: close\r\n\r\n" + body


def test_a_request_is_an_input_and_its_answer_the_response(play):
    async def scene(platform):
        site, _ = await standing(platform)
        answer = await sent(platform, request(b"/a%2Fb?c=d"))
        assert status(answer) == 200 and answer.endswith(b"\r\n\r\nhello")
        assert site.heads[0]["path"] == "/a%2Fb" and site.heads[0]["query"] == "c=d"
        answer = await sent(platform, request(b"/", b"Content-Length: 3\r\n", b"abc", b"POST"))
        assert answer.endswith(b"\r\n\r\nabc")

    play(scene, web_port=0)


def test_failures_are_told_by_status_and_nothing_else(play):
    async def scene(platform):
        await standing(platform)
        answer = await sent(platform, request(b"/fail"))
        assert status(answer) == 500 and b"ValueError" not in answer
        assert status(await sent(platform, request(b"/strange"))) == 502

    play(scene, web_port=0)


def test_requests_that_follow_while_one_is_under_way_are_answered_in_their_order(play):
    async def scene(platform):
        site, _ = await standing(platform)
        begun = [b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in (b"/1", b"/slow", b"/3", b"/4")]
        pieces = (b"".join(begun[:2]), begun[2][:9], begun[2][9:], begun[3], request(b"/5"))
        answer = await sent(platform, *pieces, pause=0.05)
        assert answer.count(b"HTTP/1.1 200 OK") == 5 and answer.count(b"hello") == 5
        assert [head["path"] for head in site.heads] == ["/1", "/slow", "/3", "/4", "/5"]

    play(scene, web_port=0)


def test_what_a_connection_asked_for_before_says_nothing_of_another_host_or_of_an_app_that_is_gone(play):
    async def scene(platform):
        _, client = await standing(platform)
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)

        async def asked(path: bytes, host: bytes) -> int:
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 8)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            return status(head)

        ours = b"local--here-dev.localhost"
        assert [await asked(b"/", ours) for _ in range(2)] == [200, 200]
        assert await asked(b"/", b"local--nobody.localhost") == 404
        assert await asked(b"/~local--here-dev/x", b"example.org") == 200 == await asked(b"/", ours)
        await client.request("app.stop", app_id=client.app_id)
        assert await asked(b"/", ours) == 404
        writer.close()

    play(scene, web_port=0)


def test_a_websocket_that_is_asked_of_a_wsgi_app_is_refused_before_anything_runs(play):
    async def scene(platform):
        site = sites.Site()
        site.worker = await platform.worker(site.work)
        await (await platform.client()).app(web={**sites.ASGI, "kind": "wsgi"})
        asks = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        answer = await sent(platform, asks)
        assert status(answer) == 501 and b"WSGI" in answer and site.heads == []

    play(scene, web_port=0)


def test_an_offer_of_http2_is_declined_by_an_ordinary_answer(play):
    async def scene(platform):
        site, _ = await standing(platform)
        offer = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        post = b"POST / HTTP/1.1\r\n" + HOST + offer + b"Content-Length: 3\r\n\r\nabc"
        assert (await sent(platform, post)).endswith(b"\r\n\r\nabc")
        assert status(await sent(platform, b"GET / HTTP/1.1\r\n" + HOST + offer + b"\r\n")) == 200
        passed = {name for head in site.heads for name, _ in head["headers"]}
        assert len(site.heads) == 2 and not passed & {"upgrade", "connection", "http2-settings"}

    play(scene, web_port=0)


def test_a_connection_of_a_container_that_talks_nonsense_is_closed_and_the_request_gets_502(play):
    async def scene(platform):
        site, _ = await standing(platform)
        site.paths["/"] = None
        assert status(await sent(platform, request(b"/"))) == 200
        waiting = asyncio.create_task(sent(platform, request(b"/keep")))
        while len(site.heads) < 2:
            await asyncio.sleep(0.01)
        site.writer.write(web.credit(site.heads[-1]["n"], 1) + b"\xff" * 100)
        assert status(await waiting) == 502

    play(scene, web_port=0)


def test_a_container_without_its_token_or_lease_answers_nothing(play):
    async def scene(platform):
        site, _ = await standing(platform)
        assert status(await sent(platform, request())) == 200
        other = await site.open(token="0" * 64)
        assert await asyncio.wait_for(site.reader.read(), 5) == b""
        other.close()
        strange = await site.open()
        strange.write(web.pack(web.HEAD, 4_000_000_000, b'{"status":200,"headers":[]}'))
        assert status(await sent(platform, request())) == 200

    play(scene, web_port=0)


def test_a_container_takes_only_so_many_connections_and_ports(play):
    async def scene(platform):
        site, _ = await standing(platform)
        assert status(await sent(platform, request())) == 200
        path = str(paths.containers_socket(platform.home).parent / web.SOCKET)
        silent = [await asyncio.open_unix_connection(path) for _ in range(520)]
        assert await asyncio.wait_for(silent[0][0].read(), 5) == b"", "the oldest has to go"
        mine = [await site.open() for _ in range(16)]
        assert await asyncio.wait_for(site.reader.read(), 5) == b""
        for one in [*mine, *(writer for _, writer in silent)]:
            one.close()
        plan = site.worker.plans[-1]["runner"]
        who = {"role": "container", "container_id": plan["container_id"], "token": plan["token"]}
        inside = await fakes.connect(paths.containers_socket(platform.home), **who)
        tunnels = [inside.stream("tunnel.open", {"port": 8000}) for _ in range(128)]
        for one in tunnels:
            await one.__anext__()
        with pytest.raises(exception.ResourceExhaustedError, match="128 ports"):
            await inside.stream("tunnel.open", {"port": 8000}).__anext__()
        await tunnels[0].aclose()
        assert (await inside.stream("tunnel.open", {"port": 8000}).__anext__()).body["port"]

    play(scene, web_port=0)


def test_who_waits_too_long_is_asked_to_come_back_and_gets_the_answer_once(play, monkeypatch):
    monkeypatch.setattr(edge, "PATIENCE", 0.15)

    async def scene(platform):
        site, _ = await standing(platform)
        await sent(platform, request())
        answer = await sent(platform, request(b"/slow?a=b", method=b"POST"))
        assert status(answer) == 303
        where = next(line for line in answer.split(b"\r\n") if line.startswith(b"Location: ")).partition(b": ")[2]
        assert where.startswith(b"/slow?a=b&__modal_function_call_id=fc-")
        assert status(await sent(platform, request(where, method=b"POST"))) == 400
        for _ in range(50):
            answer = await sent(platform, request(where))
            if status(answer) != 303:
                break
        assert status(answer) == 200 and answer.endswith(b"hello")
        assert status(await sent(platform, request(where))) == 404
        assert sum(head["path"] == "/slow" for head in site.heads) == 1

    play(scene, web_port=0)


def test_too_many_waiting_requests_are_refused_with_429(play):
    async def scene(platform):
        client = await platform.client()
        await client.app(web=sites.ASGI)  # without a worker all wait
        waiting = [asyncio.create_task(sent(platform, request())) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        assert [status(one.result()) for one in done] == [429]
        for one in waiting:
            one.cancel()

    play(scene, web_port=0, sync_waiting=2)


def test_a_head_that_comes_too_slowly_ends_with_408(play, monkeypatch):
    monkeypatch.setattr(listener, "_HEAD", 1.0)

    async def scene(platform):
        await standing(platform)
        assert status(await sent(platform)) == 408
        answer = await sent(platform, b"GET / HTTP/1.1\r\n", *(b"X-A: b\r\n" for _ in range(4)), pause=0.05)
        assert status(answer) == 408

    play(scene, web_port=0)


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"b" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Host: local--other.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Bad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_reach_no_app(play, bad):
    async def scene(platform):
        site, _ = await standing(platform)
        answer = await sent(platform, bad)
        assert 400 <= status(answer) < 500, answer[:200]
        assert all(head["body"] for head in site.heads)  # at most one whose streamed body turned out to be bad
        assert status(await sent(platform, request())) == 200

    play(scene, web_port=0)


def test_a_body_above_the_limit_is_refused_before_it_comes(play):
    async def scene(platform):
        site, _ = await standing(platform)
        answer = await sent(platform, request(b"/", b"Content-Length: 4294967297\r\n", method=b"POST"), seconds=12)
        assert status(answer) == 413 and not site.heads

    play(scene, web_port=0)


@pytest.mark.parametrize(
    "host",
    [b"", b"local--here-dev.localhost.evil.org", b"LOCAL--nobody.localhost", b"\xc3\xa9.localhost", b"a" * 5000,
     b"here-dev.localhost", b"..localhost", b"[::1", b"local--here-dev.localhost@evil", b"local--here-dev%2elocalhost"],
)  # fmt: skip
def test_a_forged_host_leads_nowhere(play, host):
    async def scene(platform):
        site, _ = await standing(platform)
        answer = await sent(platform, b"GET / HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")
        assert status(answer) in (400, 404) and not site.heads

    play(scene, web_port=0)


@pytest.mark.parametrize("port", ["²".encode(), b"9" * 5000, "\u0663".encode(), b"99999999"])
def test_a_port_that_is_none_is_a_name_and_breaks_nothing(play, port):
    async def scene(platform):
        site, _ = await standing(platform)
        host = HOST.replace(b"\r\n", b":" + port + b"\r\n")
        for last in (b"Connection: close\r\n", b""):  # by both ways
            asking = b"GET / HTTP/1.1\r\n" + host + last + b"\r\n"
            answer = await sent(platform, asking, b"GET / HTTP/1.0\r\n\r\n", pause=0.2)
            assert status(answer) == 200
        assert site.heads[-1]["server"][1] == 80

    play(scene, web_port=0)


def test_paths_are_passed_on_as_they_are(play):
    async def scene(platform):
        site, _ = await standing(platform)
        tricks = [b"/../../etc/passwd", b"//double//", b"/%00", b"/a;b=c", b"/%2e%2e/", b"/?", b"/??", b"/%zz", b"*"]
        for trick in tricks:
            answer = await sent(platform, request(trick))
            assert status(answer) in (200, 400), (trick, answer)
        assert {"/../../etc/passwd", "//double//", "/%00", "/%2e%2e/"} <= {head["path"] for head in site.heads}

    play(scene, web_port=0)


def test_random_bytes_neither_stop_nor_confuse_the_edge(play):
    async def scene(platform):
        await standing(platform)
        chance = random.Random(6)
        good = request(b"/x?y=z", b"X-A: b\r\nContent-Length: 4\r\n", b"body", b"POST")
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(bad))
                if chance.random() < 0.5:
                    bad[at] = chance.randrange(256)
                else:
                    bad[at:at] = chance.choice([b"\r\n", b"\0", b" ", b":", b"\r\n\r\n", b"Host: a\r\n", b"0\r\n\r\n"])
            reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
            writer.write(bytes(bad))
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert status(await sent(platform, request())) == 200

    play(scene, web_port=0)


def test_an_edge_that_finds_its_port_taken_takes_another_and_keeps_it(play, home):
    async def scene(platform):
        first = platform.core.web.port
        assert first > 0
        await platform.stop()
        await platform.start()
        assert platform.core.web.port == first
        await platform.stop()
        taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", first)
        await platform.start()
        assert platform.core.web.port not in (first, 0, -1)
        taken.close()

    play(scene, web_port=0)


def test_what_an_upgraded_connection_sends_is_read_no_faster_than_it_is_taken():
    async def scene():
        said: list[str] = []
        source = types.SimpleNamespace(
            pause_reading=lambda: said.append("pause"), resume_reading=lambda: said.append("resume"),
            is_closing=lambda: False,
        )  # fmt: skip
        flow = sockets.Bytes(source)
        for _ in range(3):
            flow.feed_data(bytes(web.WINDOW // 2))
        assert said == ["pause"]
        for _ in range(3):
            assert len(await flow.next()) == web.WINDOW // 2
        assert said == ["pause", "resume"]

    asyncio.run(scene())


def test_two_deployed_apps_cannot_have_one_label_and_two_functions_neither(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        labelled = {"web": {**sites.ASGI, "label": "shared"}}
        await client.deploy(ids.new("ap"), "one", f=(ids.new("fu"), labelled))
        with pytest.raises(exception.ConflictError, match=r"'two'.*'one'"):
            await client.deploy(ids.new("ap"), "two", g=(ids.new("fu"), labelled))
        with pytest.raises(exception.ConflictError, match=r"'g'.*'f'|'f'.*'g'"):
            await client.deploy(
                ids.new("ap"), "three", f=(ids.new("fu"), {"web": {**sites.ASGI, "label": "twice"}}),
                g=(ids.new("fu"), {"web": {**sites.ASGI, "label": "twice"}}),
            )  # fmt: skip

    play(scene, web_port=0)


def test_what_waits_for_a_deployed_function_whose_containers_cannot_start_gets_502(play):
    """Else it would be asked to come back again and again. Once a container can start, the same function answers."""

    async def scene(platform):
        site = sites.Site()
        site.worker = await platform.worker(site.work)
        site.worker.fail_start = {"reason": "exited", "exit_code": 1}
        client = await platform.client()
        await client.deploy(ids.new("ap"), "shop", f=(ids.new("fu"), {"web": sites.ASGI}))
        asking = b"GET / HTTP/1.1\r\nHost: local--here.localhost\r\nConnection: close\r\n\r\n"
        answer = await sent(platform, asking, seconds=20)
        assert status(answer) == 502 and b"cannot start" in answer
        assert len(site.worker.started) == 2
        site.worker.fail_start = None
        assert status(await sent(platform, asking, seconds=20)) == 200

    play(scene, web_port=0, start_failures=2)


def test_the_edge_answers_at_both_addresses_of_loopback(play):
    async def scene(platform):
        site, _ = await standing(platform)
        reader, writer = await asyncio.open_connection("::1", platform.core.web.port)
        writer.write(request())
        assert status(await asyncio.wait_for(reader.read(), 8)) == 200
        writer.close()
        assert ["x-forwarded-for", "::1"] in site.heads[0]["headers"]

    play(scene, web_port=0)


def test_a_call_of_a_web_function_is_refused(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(web=sites.ASGI)
        with pytest.raises(exception.InvalidError, match="web function"):
            await client.run(function, [1])

    play(scene, web_port=0)


def test_a_body_that_turns_out_malformed_is_a_400(play):
    async def scene(platform):
        site, _ = await standing(platform)
        assert status(await sent(platform, request())) == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
        head = b"POST /keep HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
        writer.write(head)
        while len(site.heads) < 2:
            await asyncio.sleep(0.01)
        site.writer.write(web.credit(site.heads[-1]["n"], web.WINDOW))
        await asyncio.sleep(0.05)
        writer.write(b"nonsense\r\n")
        assert status(await asyncio.wait_for(reader.read(), 5)) == 400
        writer.close()

    play(scene, web_port=0)


async def tunnelled(platform):
    """A site, the connection of its container, and the stream of a tunnel that this one has opened, with its place."""
    site, _ = await standing(platform)
    assert status(await sent(platform, request())) == 200
    plan = site.worker.plans[-1]["runner"]
    who = {"role": "container", "container_id": plan["container_id"], "token": plan["token"]}
    inside = await fakes.connect(paths.containers_socket(platform.home), **who)
    visits = inside.stream("tunnel.open", {"port": 8000})
    return site, inside, visits, (await visits.__anext__()).body


def test_a_tunnel_joins_visitors_with_connections_that_their_container_makes(play):
    async def scene(platform):
        site, _, visits, tunnel = await tunnelled(platform)
        visitor_reader, visitor = await asyncio.open_connection(tunnel["host"], tunnel["port"])
        visitor.write(b"early ")
        ticket = (await visits.__anext__()).body["ticket"]
        strange = await site.open(ticket=ticket[:-1])
        assert await asyncio.wait_for(site.reader.read(), 5) == b""
        strange.close()
        program = await site.open(ticket=ticket)
        visitor.write(b"x" * 3_000_000)
        got = await asyncio.wait_for(site.reader.readexactly(3_000_006), 5)
        assert got.startswith(b"early x")
        program.write(b"answer")
        program.write_eof()
        assert await asyncio.wait_for(visitor_reader.read(), 5) == b"answer"
        _, silent = await asyncio.open_connection(tunnel["host"], tunnel["port"])
        assert (await asyncio.wait_for(visits.__anext__(), 5)).body["ticket"], "the program may have to speak first"
        silent.close()
        visitor.close()
        program.close()
        await visits.aclose()
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection(tunnel["host"], tunnel["port"])
            except OSError:
                break
            writer.close()
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("the port stayed open")

    play(scene, web_port=0)


def test_a_tunnel_is_closed_when_its_container_is_told_so_and_by_no_other_one(play):
    async def scene(platform):
        _, inside, visits, tunnel = await tunnelled(platform)
        assert platform.core.web.tunnels.of("ta-" + "0" * 22, tunnel["tunnel_id"]) == []
        await inside.request("tunnel.close", {"tunnel_id": "tu-" + "0" * 22})
        (await asyncio.open_connection(tunnel["host"], tunnel["port"]))[1].close()
        for _ in range(2):  # once more does no harm
            await inside.request("tunnel.close", {"tunnel_id": tunnel["tunnel_id"]})
            with pytest.raises(OSError):
                await asyncio.open_connection(tunnel["host"], tunnel["port"])
        await visits.aclose()

    play(scene, web_port=0)


def test_https_is_answered_with_certificates_of_a_local_authority(play, home):
    async def scene(platform):
        site, client = await standing(platform)
        made = await client.request("edge.trust")
        assert (home / "tls/authority.key").stat().st_mode & 0o777 == 0o600
        trusting = ssl.create_default_context(cafile=made["certificate"])

        async def secure(name: str, path: bytes = b"/") -> bytes:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", made["port"], ssl=trusting, server_hostname=name
            )
            writer.write(request(path))
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer

        assert (await secure("local--here-dev.localhost")).endswith(b"hello")
        assert site.heads[-1]["scheme"] == "https"
        assert ["x-forwarded-proto", "https"] in site.heads[-1]["headers"]
        for address in ("127.0.0.1", "::1", "localhost"):
            assert (await secure(address, b"/~local--here-dev/")).endswith(b"hello")
        for stranger in ("local--nobody.localhost", "example.org", "a/../../b", "192.0.2.1"):
            with pytest.raises((ssl.SSLError, ConnectionError, ValueError)):
                await secure(stranger)
        again = await client.request("edge.trust")
        assert again == made
        await platform.stop()
        await platform.start()
        assert platform.core.web.tls_port == made["port"]

    play(scene, web_port=0)


def test_a_given_certificate_is_shown_for_its_domain(home):
    keeper = authority.Authority(home / "tls")
    keeper.make()
    made = keeper._made("shop.localhost")
    (home / "tls/given").mkdir()
    made.rename(home / "tls/given/_.example.org.pem")
    assert keeper.choose("shop.example.org", known=False) is not None
    assert keeper.choose("example.org", known=False) is None
    assert keeper.choose("../../etc/passwd", known=True) is None


async def direct(platform) -> tuple[sites.Site, asyncio.StreamReader, asyncio.StreamWriter]:
    """A container whose leases come by the edge's own connection."""
    site, _ = await standing(platform)
    assert status(await sent(platform, request())) == 200  # there is a container now
    site.writer.close()
    writer = await site.open()
    writer.write(web.pack(web.LEASE, 0))
    (container,) = platform.core.world.containers.values()
    for _ in range(200):
        if container.direct is not None:
            break
        await asyncio.sleep(0.01)
    return site, site.reader, writer


async def leased(reader: asyncio.StreamReader) -> tuple[int, dict, bytes]:
    frames: list[tuple[int, int, bytes]] = []
    taking = web.Reader(lambda *frame: frames.append(frame))
    while not frames:
        taking.feed(await asyncio.wait_for(reader.read(65536), 5))
    kind, number, data = frames[0]
    assert kind == web.LEASE
    return number, *web.leased(data)


def test_where_inputs_run_side_by_side_leases_and_successes_come_by_the_edges_connection(play):
    async def scene(platform):
        _, reader, writer = await direct(platform)
        waiting = asyncio.create_task(sent(platform, request(b"/there")))
        number, described, payload = await leased(reader)
        assert b"\n/there\n" in payload
        said = json.dumps({"status": 202, "headers": []}).encode()
        writer.write(web.pack(web.HEAD, number, said) + web.pack(web.BODY, number, b"hi") + web.pack(web.END, number))
        assert status(await waiting) == 202
        (container,) = platform.core.world.containers.values()
        assert described["input_id"] in container.held
        writer.write(web.done(number, described["attempt"] + 1, 0.1, True))  # of another attempt
        writer.write(web.done(number + 1, described["attempt"], 0.1, True))
        again = asyncio.create_task(sent(platform, request(b"/again")))
        second, more, _ = await leased(reader)
        assert len(container.held) == 2
        writer.write(web.pack(web.HEAD, second, said) + web.pack(web.END, second))
        writer.write(web.done(second, more["attempt"], 0.1, True))
        assert status(await again) == 202
        for _ in range(100):
            if more["input_id"] not in container.held:
                break
            await asyncio.sleep(0.01)
        assert list(container.held) == [described["input_id"]]
        writer.close()

    play(scene, web_port=0)


def test_requests_that_come_together_are_handed_on_in_small_groups():
    """Else their container would wait until all of them are read."""

    async def scene() -> int:
        way = express.Way(mock.Mock())
        for _ in range(20):
            way.hurry()
        return way.edge.core.turn.end.call_count

    assert asyncio.run(scene()) == 2


WHOLE = (
    (web.whole(202, 2, b"a: b\r\nContent-Length: 2\r\n", b"hi"), 202, b"a: b"),
    (web.whole(409, 0, b"", b"hi"), 409, b"HTTP/1.1 409 Conflict\r\n"),
    (web.whole(204, 0, b"", b""), 204, b"Server: windlass"),  # what is not so simple goes another way
    (web.whole(200, 1, b"connection: close\r\n", b"hi"), 200, b"Content-Length: 2"),
    (web.whole(200, 1, b"a: b\r\nSet-Cookie: c\r\n", b"hi"), 502, b""),
    (web.whole(200, 1, b"a: b\r\n\r\nHTTP/1.1 200 OK\r\n", b"hi"), 502, b""),
    *((web.whole(200, 1, bad, b"hi"), 502, b"") for bad in (b": b\r\n", b"abc\r\n", b" a: b\r\n", b"a\0: b\r\n")),
    (web.whole(200, 1, b"a: b", b"hi"), 502, b""),
    (web.whole(200, 1, b"content-length: 3\r\n", b"hi"), 502, b""),
    (web.whole(7, 0, b"", b"hi"), 502, b""),
    (b"\0", 502, b""),
)  # fmt: skip


def test_a_whole_answer_goes_to_its_client_and_what_is_none_is_a_502(play):
    async def scene(platform):
        _, reader, writer = await direct(platform)
        for data, code, part in WHOLE:
            first = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"  # alone, so it goes the short way
            waiting = asyncio.create_task(sent(platform, first, request(), pause=0.01))
            number, described, _ = await leased(reader)
            writer.write(web.pack(web.WHOLE, number, data) + web.done(number, described["attempt"], 0.1, True))
            number, described, _ = await leased(reader)
            said = web.whole(200, 0, b"", b"the next one")
            writer.write(web.pack(web.WHOLE, number, said) + web.done(number, described["attempt"], 0.1, True))
            answer = await waiting
            assert status(answer) == code and part in answer, (data, answer)
            assert answer.endswith(b"\r\n\r\nthe next one") and b"Set-Cookie" not in answer
        writer.close()

    play(scene, web_port=0)


def test_a_request_whose_connection_to_its_container_is_lost_is_a_502_and_never_runs_twice(play):
    async def scene(platform):
        site, reader, writer = await direct(platform)
        waiting = asyncio.create_task(sent(platform, request(b"/once", method=b"POST")))
        number, _, _ = await leased(reader)
        writer.write(web.credit(number, 1))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        assert status(await waiting) in (502, 503)
        await asyncio.sleep(0.2)
        assert not any(head["path"] == "/once" for head in site.heads)
        assert not any(item.state == 0 for item in platform.core.world.functions_by_n[1].ready)

    play(scene, web_port=0)


def test_what_a_client_says_of_itself_is_overwritten_and_what_a_trusted_proxy_says_is_passed_on(play):
    said = b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
    said += b"X-Forwarded-Host: local--here-dev.localhost\r\n"
    bare = b"GET / HTTP/1.1\r\nHost: elsewhere\r\nForwarded: for=6.6.6.6\r\n" + said + b"Connection: close\r\n\r\n"

    async def told(platform) -> dict[str, str]:
        site, _ = await standing(platform)
        assert status(await sent(platform, request(b"/", said))) == 200
        head = site.heads[-1]
        named = dict(head["headers"])
        assert "forwarded" not in named
        return {"client": head["client"][0], "scheme": head["scheme"], "for": named["x-forwarded-for"]}

    async def strangers(platform):
        assert await told(platform) == {"client": "127.0.0.1", "scheme": "http", "for": "127.0.0.1"}
        assert status(await sent(platform, bare)) == 404

    async def trusted(platform):
        assert await told(platform) == {"client": "203.0.113.7", "scheme": "https", "for": "203.0.113.7"}
        assert status(await sent(platform, bare)) == 200

    play(strangers, web_port=0)
    play(trusted, web_port=0, web_trusted="127.0.0.0/8")


def test_who_asks_for_a_token_is_shown_as_they_are(play):
    async def scene(platform):
        await standing(platform)

        async def asked(body: bytes) -> bytes:
            head = b"POST /-/token/flows HTTP/1.1\r\nHost: elsewhere\r\nX-Forwarded-For: 203.0.113.7\r\n"
            length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            return await sent(platform, head + length + body)

        assert status(await asked(b"[" * 4000)) == 400
        assert status(await asked(b'{"name": "mia\\u001b[8m\\r\\nx", "callback": ""}')) == 200
        (flow,) = platform.core.identity.flows.values()
        assert (flow.source, flow.name) == ("203.0.113.7", "mia?[8m??x")

    play(scene, web_port=0, web_trusted="127.0.0.1")


def test_urls_are_as_the_settings_say_and_lead_here(play):
    async def scene(platform):
        site, client = await standing(platform)
        (function,) = platform.core.world.functions
        info = await client.request("function.get", function_id=function)
        assert info["web_urls"][""] == "https://local--here-dev.apps.example.org"
        answer = await sent(platform, b"GET / HTTP/1.0\r\nHost: local--here-dev.apps.example.org\r\n\r\n")
        assert status(answer) == 200 and site.heads
        assert status(await sent(platform, b"GET / HTTP/1.0\r\nHost: apps.example.org\r\n\r\n")) == 404

    play(scene, web_port=0, web_url="https://*.apps.example.org")


def test_more_requests_than_the_rate_are_refused_with_429(play):
    async def scene(platform):
        await standing(platform)
        answers = [await sent(platform, request()) for _ in range(5)]
        assert [status(one) for one in answers] == [200, 200, 200, 429, 429]
        assert b"Retry-After: 1" in answers[-1]

    play(scene, web_port=0, web_rate=0.6, rate_burst=5.0)


def test_an_ephemeral_app_ends_its_labels_as_its_client_says_also_after_a_restart(play):
    async def scene(platform):
        site = sites.Site()
        site.worker = await platform.worker(site.work)
        client = await platform.client()
        app, function = ids.new("ap"), ids.new("fu")
        with pytest.raises(exception.InvalidError, match="dev_suffix"):
            await client.request("app.create", app_id=app, name=None, description="t", dev_suffix="a-b")
        await client.request("app.create", app_id=app, name=None, description="t", dev_suffix="ann")
        spec = {**fakes.SPEC, "web": sites.ASGI}
        await client.request("function.create", app_id=app, function_id=function, spec=spec)
        await client.request("app.publish", app_id=app, functions={"f": function})
        info = await client.request("function.get", function_id=function)
        assert info["web_urls"][""].startswith("http://local--here-ann.localhost:")
        await platform.stop()
        await platform.start()
        assert platform.core.world.apps[app].dev_suffix == "ann"

    play(scene, web_port=0)


SERVER = {**sites.ASGI, "kind": "server", "port": 80, "startup_timeout": 5.0, "stateless": True, "grace": 2.0}
BOUNDS = {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 60.0}


def test_a_server_answers_503_until_a_container_is_ready_and_when_all_are_full(play):
    async def scene(platform):
        site = sites.Site()
        client = await platform.client()
        concurrency = {"max_inputs": 2, "target_inputs": 1}
        function = await client.app(
            web=SERVER, concurrency=concurrency, autoscaler={**BOUNDS, "target_concurrency": 1, "max_containers": 1}
        )
        answer = await sent(platform, request())
        assert status(answer) == 503 and b"Retry-After: 1" in answer and not site.heads
        site.worker = await platform.worker(site.work)
        for _ in range(200):
            if status(answer := await sent(platform, request())) == 200:
                break
            await asyncio.sleep(0.01)
        assert status(answer) == 200
        kept = [asyncio.create_task(sent(platform, request(b"/keep"))) for _ in range(2)]
        while sum(head["path"] == "/keep" for head in site.heads) < 2:
            await asyncio.sleep(0.01)
        answer = await sent(platform, request())
        assert status(answer) == 503 and b"busy" in answer
        changed = await client.request("function.autoscaler", function_id=function, max_containers=2)
        assert changed["target_concurrency"] == 1
        while sum(head["path"] == "/keep" for head in site.heads) < 4:  # each refusal says that one more is wanted
            kept.append(asyncio.create_task(sent(platform, request(b"/keep", b"Modal-Session-ID: x\r\n"))))
            await asyncio.sleep(0.02)
        assert sorted(len(c.held) for c in platform.core.world.containers.values()) == [2, 2]
        for one in kept:
            one.cancel()

    play(scene, web_port=0)


def test_a_client_that_has_its_response_may_ask_a_server_again_at_once(play):
    """Its container may not have said yet that the request is over."""

    async def scene(platform):
        site = sites.Site()
        client = await platform.client()
        concurrency = {"max_inputs": 1, "target_inputs": 1}
        await client.app(web=SERVER, concurrency=concurrency, autoscaler={**BOUNDS, "max_containers": 1})
        site.worker = await platform.worker(site.work)
        await sent(platform, request())
        while status(await sent(platform, request())) != 200:
            await asyncio.sleep(0.01)
        for headers in (b"", b"Modal-Session-ID: x\r\n") * 2:
            assert status(await sent(platform, request(b"/unended", headers))) == 200
        kept = asyncio.create_task(sent(platform, request(b"/keep")))
        while site.heads[-1]["path"] != "/keep":
            await asyncio.sleep(0.01)
        assert status(await sent(platform, request())) == 503
        kept.cancel()

    play(scene, web_port=0)


def test_only_servers_have_a_target_of_their_own(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(web=sites.ASGI)
        with pytest.raises(exception.InvalidError, match="for servers"):
            await client.request("function.autoscaler", function_id=function, target_concurrency=2)

    play(scene)


def test_requests_of_one_connection_are_answered_in_turn_whatever_way_they_go(play):
    async def scene(platform):
        await standing(platform)
        assert status(await sent(platform, request())) == 200

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
            plain = b"GET /%b HTTP/1.1\r\n" + HOST + b"\r\n"
            posted = b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
            for burst in ([b"a"], [b"a"], [b"a", b"slow", b"a"], [b"a"], [b"slow"], [b"p", b"a"]):
                for one in burst:
                    writer.write(posted if one == b"p" else plain.replace(b"%b", one))
                    await asyncio.sleep(0.005)
                for one in burst:
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                    assert status(head) == 200
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                    body = await reader.readexactly(length)
                    assert body == (b"abc" if one == b"p" else b"hello")
            writer.close()

        await asyncio.gather(*(client() for _ in range(8)))

    play(scene, web_port=0)
