"""The edge behind Caddy and nginx, set up as docs/guide/reverse-proxy.md says."""
from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from pathlib import Path

import aiohttp
import pytest
import sites

import ports
from windlass.wire import web

GUIDE = (Path(__file__).parents[2] / "docs/guide/reverse-proxy.md").read_text()
NAME = "local--here-dev.apps.example.org"
SETTINGS = {"web_port": 0, "web_url": "https://*.apps.example.org", "web_trusted": "127.0.0.1"}


class Told(sites.Site):
    """Answers with what it was told of the request; a WebSocket with one message."""

    async def work(self, args, kwargs, lease):
        if self.writer is None:
            self.writer = await self.open()
        head = sites.told(args[0])
        number, body = head["n"], json.dumps(head).encode()
        said = {"status": 200, "headers": []}
        frames = [(web.HEAD, json.dumps(said).encode()), (web.BODY, body), (web.END, b"")]
        if head["kind"] == "websocket":
            said = {"status": 101, "headers": [], "subprotocol": None}
            frames = [(web.HEAD, json.dumps(said).encode()), (web.TEXT, b"hello")]
        self.writer.write(b"".join(web.pack(kind, number, data) for kind, data in frames))
        return NotImplemented if head["kind"] == "websocket" else None


def example(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[1]  # type: ignore[index]


def caddy(folder: Path, port: int, edge: int) -> list[str]:
    text = example("caddyfile").replace("*.apps.example.org {", f"http://*.apps.example.org:{port} {{")
    text = re.sub(r"\ttls .*\n", "", text).replace("127.0.0.1:8640", f"127.0.0.1:{edge}")
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tstorage file_system " + str(folder) + "\n}\n" + text)
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def nginx(folder: Path, port: int, edge: int) -> list[str]:
    text = example("nginx").replace("listen 443 ssl http2;", f"listen 127.0.0.1:{port};")
    text = re.sub(r" +ssl_.*\n", "", text).replace("127.0.0.1:8640", f"127.0.0.1:{edge}")
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    kept = "".join(f"{name}_temp_path {folder}/{name};\n" for name in places)
    own = f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nworker_processes 1;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(own + "http {\naccess_log off;\n" + kept + text + "}\n")
    return [_nginx() or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def _nginx() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@contextlib.asynccontextmanager
async def running(command: list[str], port: int):
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=nothing, stderr=nothing)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            assert process.returncode is None, "the proxy ended"
            await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("front", [caddy, nginx])
def test_who_asks_and_websockets_come_through_a_proxy_in_front(play, tmp_path, front):
    if shutil.which("caddy") is None if front is caddy else _nginx() is None:
        pytest.skip(f"{front.__name__} is not installed")

    async def scene(platform):
        site = Told()
        site.worker = await platform.worker(site.work)
        client = await platform.client()
        await client.app(web=sites.ASGI, concurrency={"max_inputs": 100, "target_inputs": 100})
        forged = {"Host": NAME, "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil"}
        async with running(front(tmp_path, port, platform.core.web.port), port), aiohttp.ClientSession() as asking:
            for _ in range(3):
                async with asking.get(f"http://127.0.0.1:{port}/a%2Fb?c=d", headers=forged) as got:
                    assert got.status == 200
                    head = await got.json(content_type=None)
                assert head["path"] == "/a%2Fb" and head["query"] == "c=d"
                assert head["client"] == ["127.0.0.1", head["client"][1]] and "evil" not in str(head)
                assert "6.6.6.6" not in str(head)
            async with asking.post(f"http://127.0.0.1:{port}/", data=b"x" * 100_000, headers={"Host": NAME}) as got:
                assert got.status == 200
            async with asking.ws_connect(f"http://127.0.0.1:{port}/ws", headers={"Host": NAME}) as ws:
                assert await ws.receive_str(timeout=5) == "hello"
            async with asking.get(f"http://127.0.0.1:{port}/", headers={"Host": "nobody.apps.example.org"}) as got:
                assert got.status == 404

    with ports.reserved() as port:
        play(scene, **SETTINGS)
