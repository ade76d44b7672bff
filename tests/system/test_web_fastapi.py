"""FastAPI in real containers, and ports that functions forward."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket

import aiohttp
import pytest

import windlass
from programs import web_fastapi as web
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with web.app.run():
        yield


@pytest.fixture(scope="module")
def port(running) -> int:
    return int(web.square.get_web_url().rpartition(":")[2])


def ask(port: int, label: str, path: str, method: str = "GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    named = {"Host": f"local--{label}-dev.localhost:{port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection.request(method, path, body=body, headers=named)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def test_a_function_is_an_endpoint_with_checked_parameters_docs_and_open_cors(port):
    response, body = ask(port, "square", "/?x=7", Origin="https://example.org")
    assert response.status == 200 and json.loads(body) == {"square": 49}
    assert response.getheader("access-control-allow-origin")
    assert ask(port, "square", "/?x=seven")[0].status == 422
    assert ask(port, "square", "/", "POST")[0].status == 405
    assert b"swagger" in ask(port, "square", "/docs")[1].lower()
    assert ask(port, "total", "/docs")[0].status == 404


def test_an_async_endpoint_takes_a_body(port):
    body = json.dumps({"a": 1, "b": 2.5}).encode()
    response, said = ask(port, "total", "/", "POST", body, Content_Type="application/json")
    assert response.status == 200 and json.loads(said) == 3.5


def test_an_app_of_fastapi_has_routes_streams_background_tasks_and_websockets(port, stage):
    assert json.loads(ask(port, "api", "/items/a%20b")[1]) == {"name": "a b", "root": ""}
    until(lambda: "afterwards a b" in stage.cli("app", "logs", web.app.app_id).text, 20, "the background task's line")
    assert ask(port, "api", "/stream")[1] == b"0\n1\n2\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/~local--api-dev/items/x")
    assert json.loads(connection.getresponse().read()) == {"name": "x", "root": "/~local--api-dev"}
    connection.close()

    async def talk() -> None:
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{port}/ws"
            async with client.ws_connect(url, headers={"Host": "local--api-dev.localhost"}) as ws:
                await ws.send_json([1, 2])
                assert await ws.receive_json() == {"got": [1, 2]}
                await ws.receive()
                assert ws.close_code == 1000

    asyncio.run(talk())


def test_an_image_without_fastapi_is_told_in_the_log(port, stage):
    response, body = ask(port, "without", "/")
    assert response.status == 502 and b"log" in body
    said = "needs FastAPI in the image"
    until(lambda: said in stage.cli("app", "logs", web.app.app_id).text, 20, "what its container says")


def test_a_forwarded_port_is_reached_until_the_block_ends():
    with windlass.Queue.ephemeral() as over:
        values = web.forwards.remote_gen(over)
        address, silent, url = next(values)
        assert url == f"http://{address[0]}:{address[1]}"
        for _ in range(2):
            with socket.create_connection(tuple(address), timeout=20) as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"HELLO"
        with socket.create_connection(tuple(silent), timeout=8) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"", "nobody listens: a visitor is told so at once"
        over.put(None)
        assert next(values) == ("closed", "closed", "")
    with pytest.raises(OSError):
        socket.create_connection(tuple(address), timeout=5).close()
