"""Web functions in real containers, asked over HTTP as clients do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import time
import urllib.request

import aiohttp
import pytest

import windlass
from programs import web
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with web.app.run():
        yield


@pytest.fixture(scope="module")
def port(running) -> int:
    return int(web.site.get_web_url().rpartition(":")[2])


@contextlib.contextmanager
def asked(port: int, label: str, path: str = "/", method: str = "GET", body=None, headers=None, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {"Host": host or f"local--{label}.localhost:{port}", **(headers or {})}
        connection.request(method, path, body=body, headers=named)
        yield connection.getresponse()
    finally:
        connection.close()


def ask(*arguments, **more) -> tuple[int, bytes]:
    with asked(*arguments, **more) as response:
        return response.status, response.read()


def log(stage, text: str, seconds: float = 20.0) -> str:
    def look() -> str:
        printed = stage.cli("app", "logs", web.app.app_id, check=0).text
        return printed if text in printed else ""

    return until(look, seconds, f"{text!r} in the log")


def test_the_first_request_waits_for_a_container_and_the_url_says_where(port):
    assert web.site.get_web_url() == f"http://local--site-dev.localhost:{port}"
    assert web.plain.get_web_url() is None
    status, body = ask(port, "site-dev", "/any%20thing?a=%C3%A9&b")
    seen = eval(body, {})
    assert status == 200
    assert seen["path"] == "/any thing" and seen["raw_path"] == b"/any%20thing"
    assert seen["query_string"] == b"a=%C3%A9&b" and seen["root_path"] == ""
    assert seen["state"] == ["begun"]


def test_a_program_can_ask_at_the_address_that_it_was_given(running):
    with urllib.request.urlopen(f"{web.site.get_web_url()}/here", timeout=30) as response:
        assert response.status == 200 and b"'path': '/here'" in response.read()


def test_headers_pass_both_ways_but_not_those_that_forge_who_asks(port):
    forged = {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=8.8.8.8", "X-Mine": "kept", "Connection": "close, x-hop",
              "X-Hop": "dropped"}  # fmt: skip
    with asked(port, "site-dev", "/", headers=forged) as response:
        assert response.getheader("x-one") == "1"
        assert [value for name, value in response.getheaders() if name.lower() == "set-cookie"] == ["a", "b"]
        seen = eval(response.read(), {})
    headers = dict(seen["headers"])
    assert headers[b"x-forwarded-for"] == b"127.0.0.1" and headers[b"x-forwarded-proto"] == b"http"
    assert headers[b"x-mine"] == b"kept"
    assert not headers.keys() & {b"forwarded", b"connection", b"x-hop"}
    assert seen["client"][0] == "127.0.0.1"


def test_a_client_that_resolves_no_names_says_the_label_in_the_path(port):
    status, body = ask(port, "", "/~local--site-dev/x", host=f"127.0.0.1:{port}")
    seen = eval(body, {})
    assert status == 200
    assert seen["root_path"] == "/~local--site-dev" and seen["path"] == "/~local--site-dev/x"


@pytest.mark.parametrize("host", ["local--nobody.localhost", "example.org", "localhost", "127.0.0.1", "[::1]"])
def test_what_is_not_there_reveals_nothing(port, host):
    assert ask(port, "", "/", host=host) == (404, b"there is nothing here\n")


@pytest.mark.parametrize("size", [0, 10, 70_000, 5_000_000])
def test_bodies_stream_up_and_down(port, size):
    assert ask(port, "site-dev", "/upload", "POST", body=b"y" * size) == (200, str(size).encode())
    pieces = (b"z" * 1000 for _ in range(size // 1000))
    chunked = {"Transfer-Encoding": "chunked"}
    encoded = (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    body = b"".join(encoded) + b"0\r\n\r\n"
    assert ask(port, "site-dev", "/upload", "POST", body=body, headers=chunked)[1] == str(size // 1000 * 1000).encode()
    status, got = ask(port, "site-dev", f"/download?{size}")
    assert status == 200 and len(got) == size


def test_events_arrive_while_the_response_goes_on(port):
    with asked(port, "site-dev", "/events") as response:
        begun = time.monotonic()
        assert response.readline() == b"data: 0\n"
        assert time.monotonic() - begun < 4, "before the second one is sent"
        assert response.read().endswith(b"data: 2\n\n")
        assert time.monotonic() - begun > 1


def test_an_exception_is_a_500_and_its_traceback_stays_in_the_log(port, stage):
    status, body = ask(port, "site-dev", "/fail")
    assert status == 500 and b"purpose" not in body
    assert "ValueError: it failed on purpose" in log(stage, "it failed on purpose")


def test_an_app_that_does_not_answer_right_is_a_502_or_a_closed_connection(port):
    for path in ("/silent", "/twice", "/unknown"):
        assert ask(port, "site-dev", path) == (502, b"the app did not answer as ASGI wants it; its log says more\n")
    assert ask(port, "site-dev", "/split")[0] == 502
    assert ask(port, "site-dev", "/short")[0] == 502
    with pytest.raises(http.client.IncompleteRead):
        ask(port, "site-dev", "/late")


def test_a_container_that_dies_gives_502_and_the_next_request_a_new_one(port):
    assert ask(port, "site-dev", "/die")[0] == 502
    assert ask(port, "site-dev", "/state")[0] == 200


def test_the_lifespan_begins_once_and_its_state_is_copied_for_each_request(port):
    for _ in range(2):
        assert ask(port, "site-dev", "/state") == (200, b"['begun', 'mine']")


def test_a_client_that_leaves_ends_the_input(port, stage):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: local--site-dev.localhost\r\n\r\n")
        log(stage, "waiting")
    assert "waited until http.disconnect" in log(stage, "waited until")
    log(stage, "the input was cancelled")


def test_a_request_that_takes_longer_than_the_timeout_gives_504(port):
    assert ask(port, "slow-dev", "/")[0] == 504


def test_wsgi_apps_stream_both_ways(port, stage):
    with asked(port, "wsgi-dev", "/a%20b", "PUT", body=b"q" * 3_000_000) as response:
        assert response.status == 201 and response.getheader("X-Path") == "/a b"
        assert response.read() == b"got 3000000 by PUT"
    log(stage, "wsgi was asked")


def test_a_program_at_a_port_gets_requests_and_upgrades(port):
    assert ask(port, "program-dev", "/") == (200, b"program")
    head = ask(port, "program-dev", "/head", headers={"X-Mine": "1"})[1].lower()
    assert b"x-mine: 1" in head and b"x-forwarded-for: 127.0.0.1" in head
    assert ask(port, "program-dev", "/nonsense")[0] == 502
    assert ask(port, "program-dev", "/early")[0] == 502
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: local--program-dev.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        got = b""
        while b"\r\n\r\n" not in got:
            got += client.recv(4096)
        assert got.startswith(b"HTTP/1.1 101 ")
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"


def test_websockets_carry_messages_both_ways(port, stage):
    async def scene() -> None:
        url, host = f"http://127.0.0.1:{port}/", {"Host": "local--site-dev.localhost"}
        async with aiohttp.ClientSession() as client:
            async with client.ws_connect(url, headers=host, protocols=("one", "two")) as ws:
                assert ws.protocol == "one"
                await ws.send_str("hé")
                assert (await ws.receive_str()) == "hé"
                big = bytes(range(256)) * 4096
                await ws.send_bytes(big)
                assert (await ws.receive_bytes()) == big
            async with client.ws_connect(url, headers=host) as ws:
                await ws.send_str("close")
                message = await ws.receive()
                assert message.type == aiohttp.WSMsgType.CLOSE and ws.close_code == 4001
            async with client.ws_connect(url, headers=host) as ws:
                await ws.send_str("fail")
                await ws.receive()
                assert ws.close_code == 1011
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(url + "refuse", headers=host)
            assert refused.value.status == 403

    asyncio.run(scene())
    log(stage, "socket closed with 1000")


def test_many_websockets_share_a_container(port):
    async def scene() -> None:
        url, host = f"http://127.0.0.1:{port}/", {"Host": "local--site-dev.localhost"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            sockets = await asyncio.gather(*(client.ws_connect(url, headers=host) for _ in range(100)))
            for number, ws in enumerate(sockets):
                await ws.send_str(str(number))
            assert [await ws.receive_str() for ws in sockets] == [str(number) for number in range(100)]
            await asyncio.gather(*(ws.close() for ws in sockets))

    asyncio.run(scene())


def test_a_class_with_parameters_has_one_url_and_the_query_chooses_the_instance(port):
    assert ask(port, "test-web-greeter-greet-dev", "/?word=hi&times=2") == (200, b"hi hi")
    assert ask(port, "test-web-greeter-greet-dev", "/?word=ho") == (200, b"ho")
    assert ask(port, "test-web-greeter-greet-dev", "/")[0] == 400
    assert ask(port, "test-web-greeter-greet-dev", "/?word=a&times=many")[0] == 400
    greeter = web.Greeter(word="hi", times=2)
    assert greeter.greet.get_web_url() == f"http://local--test-web-greeter-greet-dev.localhost:{port}"
    assert greeter.say.remote() == "hi hi"
    with pytest.raises(windlass.exception.InvalidError, match="web function"):
        greeter.greet.remote()


@pytest.mark.parametrize("verb", ["remote", "spawn", "map", "remote_gen"])
def test_a_web_function_cannot_be_called(verb):
    with pytest.raises(windlass.exception.InvalidError, match="web function"):
        made = getattr(web.site, verb)([1]) if verb == "map" else getattr(web.site, verb)()
        list(made)
    assert callable(web.site.local())


def test_only_a_proxy_token_opens_what_is_guarded(port, stage):
    made = json.loads(stage.cli("workspace", "proxy-tokens", "create", "mine", "--json", check=0).out)[0]
    key, secret = made["token_id"], made["secret"]
    right = {"Modal-Key": key, "Modal-Secret": secret}
    assert ask(port, "guarded-dev", "/")[0] == 401
    assert ask(port, "guarded-dev", "/", headers={**right, "Modal-Secret": "ws-wrong"})[0] == 401
    status, body = ask(port, "guarded-dev", "/", headers=right)
    assert status == 200 and secret.encode() not in body
    assert ask(port, "guarded-dev", "/", headers={"Authorization": f"Bearer {key}.{secret}"})[0] == 200
    assert secret not in stage.cli("workspace", "proxy-tokens", "list", check=0).text
    stage.cli("workspace", "proxy-tokens", "revoke", key, check=0)
    assert ask(port, "guarded-dev", "/", headers=right)[0] == 401


def test_a_token_of_one_environment_opens_no_other(port, stage):
    stage.cli("environment", "create", "elsewhere", check=0)
    made = json.loads(stage.cli("workspace", "proxy-tokens", "create", "-e", "elsewhere", "--json", check=0).out)[0]
    key, secret = made["token_id"], made["secret"]
    assert ask(port, "guarded-dev", "/", headers={"Modal-Key": key, "Modal-Secret": secret})[0] == 403


def test_requests_on_one_connection_are_answered_in_order(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        one = b"GET /download?%d HTTP/1.1\r\nHost: local--site-dev.localhost\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(b"".join(one % number for number in (3, 1, 2)) + last)
        got = b""
        while data := client.recv(65536):
            got += data
    assert got.count(b"HTTP/1.1 200") == 3
    bodies = [part.partition(b"\r\n\r\n")[2] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert [body.count(b"x") for body in bodies] == [3, 1, 2, 0]
    assert got.rstrip().endswith(b"there is nothing here")


def _deployed(stage, tmp_path, name: str, text: str, *options: str):
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    return stage.cli("deploy", str(file), *options, timeout=120)


_NAMED = """
import windlass
app = windlass.App("{app}")
@app.function(min_containers=1)
@windlass.concurrent(max_inputs=50)
@windlass.wsgi_app({arguments})
def page():
    def serve(environ, start_response):
        start_response("200 OK", [])
        return [b"version {version}"]
    return serve
"""


def test_a_label_of_another_deployed_app_is_refused_with_both_names(port, stage, tmp_path):
    arguments = 'label="shared-label"'
    first = _deployed(stage, tmp_path, "one", _NAMED.format(app="web-one", arguments=arguments, version=1))
    assert first.code == 0
    url = f"http://local--shared-label.localhost:{port}"
    assert f"page => {url}\n" in first.out, "a script that reads stdout learns where the app answers"
    assert stage.json("app", "info", "web-one")["web_urls"] == {"page": url}
    second = _deployed(stage, tmp_path, "two", _NAMED.format(app="web-two", arguments=arguments, version=2))
    assert second.code == 1 and "web-one" in second.text and "web-two" in second.text
    assert second.text.count("Created function page.") == 1, "what nobody raced for is not tried again"
    assert ask(port, "shared-label") == (200, b"version 1")
    assert "web-two" not in [app["description"] for app in stage.json("app", "list")]


def test_a_newer_ephemeral_app_takes_the_label_of_an_older_one(port):
    def made(word: bytes):
        app = windlass.App("web-stolen")

        @app.function(serialized=True)
        @windlass.wsgi_app(label="stolen")
        def page():
            def serve(environ, start_response):
                start_response("200 OK", [])
                return [word]

            return serve

        return app

    with made(b"old").run():
        assert ask(port, "stolen-dev") == (200, b"old")
        with made(b"new").run():
            assert ask(port, "stolen-dev") == (200, b"new")
        assert ask(port, "stolen-dev") == (200, b"old")
    assert ask(port, "stolen-dev")[0] == 404


def test_a_registered_domain_leads_to_the_function_and_another_is_refused(port, stage, tmp_path):
    text = _NAMED.format(app="web-domain", arguments='custom_domains=["shop.example.org"]', version=1)
    refused = _deployed(stage, tmp_path, "domain", text)
    assert refused.code == 1 and "windlass domain add shop.example.org" in refused.text
    stage.cli("domain", "add", "*.example.org", check=0)
    assert _deployed(stage, tmp_path, "domain", text).code == 0
    assert ask(port, "", host="shop.example.org") == (200, b"version 1")
    assert ask(port, "", host="other.example.org")[0] == 404
    assert ask(port, "web-domain-page") == (200, b"version 1")


def test_no_request_fails_while_its_app_is_deployed_ten_times(port, stage, tmp_path):
    _deployed(stage, tmp_path, "busy", _NAMED.format(app="web-busy", arguments="", version=0))
    seen: set[tuple[int, bytes]] = set()
    stop = asyncio.Event()

    async def load(client: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            named = {"Host": "local--web-busy-page.localhost"}
            async with client.get(f"http://127.0.0.1:{port}/", headers=named) as got:
                seen.add((got.status, await got.read()))

    async def scene() -> None:
        async with aiohttp.ClientSession() as client:
            asked = [asyncio.create_task(load(client)) for _ in range(4)]
            for version in range(1, 11):
                text = _NAMED.format(app="web-busy", arguments="", version=version)
                assert (await asyncio.to_thread(_deployed, stage, tmp_path, "busy", text)).code == 0
            deadline = time.monotonic() + 30
            while (200, b"version 10") not in seen and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*asked)

    asyncio.run(scene())
    assert {status for status, _ in seen} == {200}
    assert (200, b"version 10") in seen
