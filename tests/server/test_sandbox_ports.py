"""Ports of sandboxes as the server sees them: a pretended worker comes with the tickets that it is asked to show."""

from __future__ import annotations

import asyncio
import json
import ssl

import pytest
import test_sandboxes
from test_containers_life import until

from windlass import exception, paths
from windlass.server.objects import authority, certificate
from windlass.wire import web

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Worker(test_sandboxes.Worker):
    """Comes to the edge for each visitor, unless it is told to refuse; ``program`` speaks for what listens inside."""

    refuses = False
    programs = 0

    def _serve(self, incoming) -> None:
        if incoming.method != "sandbox.connect":
            super()._serve(incoming)
        elif self.refuses:
            incoming.fail(exception.ConflictError("nothing listens"))
        else:
            self.tasks.add(asyncio.get_running_loop().create_task(self._come(incoming)))

    async def _come(self, incoming) -> None:
        path = paths.containers_socket(self.home).parent / web.SOCKET
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(json.dumps({"ticket": incoming.body["ticket"]}).encode() + b"\n")
        incoming.reply({})
        self.seen = incoming.body
        self.head = b""
        while b"\r\n\r\n" not in self.head and (data := await reader.read(65536)):
            self.head += data
        writer.write(ANSWER)
        if await reader.read() == b"":
            writer.close()


async def standing(platform, **spec):
    scene = test_sandboxes.Scene(platform)
    before, test_sandboxes.Worker = test_sandboxes.Worker, Worker
    try:
        await scene.begin()
    finally:
        test_sandboxes.Worker = before
    identity = await scene.create(**spec)
    await scene.until(identity, "running")
    return scene, identity


async def asked(platform, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
    writer.write(head)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    return answer


async def gone(number: int) -> bool:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", number)
        except OSError:
            return True
        writer.close()
        await asyncio.sleep(0.02)
    return False


PORTS = [{"port": 80, "kind": "tls"}, {"port": 81, "kind": "tcp"}]


def test_ports_are_the_same_whenever_somebody_asks_and_closed_with_the_sandbox(play):
    async def scene(platform):
        here, identity = await standing(platform, ports=PORTS)
        told = await here.ask("sandbox.tunnels", sandbox_id=identity)
        assert told == await here.ask("sandbox.tunnels", sandbox_id=identity)
        first, second = told["tunnels"]
        assert (first["port"], first["raw"], second["port"]) == (80, 0, 81) and second["raw"] != second["number"]
        reader, writer = await asyncio.open_connection("127.0.0.1", second["raw"])
        writer.write(b"x\r\n\r\n")
        assert await asyncio.wait_for(reader.readexactly(len(ANSWER)), 5) == ANSWER
        assert here.worker.seen["port"] == 81 and platform.core.web.visiting == {identity: 1}
        await here.ask("sandbox.terminate", sandbox_id=identity)
        await here.until(identity, "finished")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert await gone(first["number"])
        await until(lambda: platform.core.web.visiting == {})
        with pytest.raises(exception.ConflictError):
            await here.ask("sandbox.tunnels", sandbox_id=identity)

    play(scene, web_port=0)


def test_a_visitor_whom_nobody_inside_takes_is_let_go_at_once(play):
    async def scene(platform):
        here, identity = await standing(platform, ports=PORTS)
        here.worker.refuses = True
        told = await here.ask("sandbox.tunnels", sandbox_id=identity)
        reader, writer = await asyncio.open_connection("127.0.0.1", told["tunnels"][1]["raw"])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        made = await here.ask("sandbox.token", sandbox_id=identity, port=99)
        path = made["url"].rpartition("/")[2].encode()
        head = b"GET /%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % (path, made["token"].encode())
        assert b" 502 " in await asked(platform, head)
        await until(lambda: platform.core.web.visiting == {})

    play(scene, web_port=0)


def test_there_is_no_tunnel_before_there_is_room_for_the_sandbox(play):
    async def scene(platform):
        here, _ = await standing(platform)
        waits = await here.create(ports=PORTS, memory_request=15 << 10)
        last = await here.create(ports=PORTS, memory_request=15 << 10)
        with pytest.raises(exception.TimeoutError):
            await here.ask("sandbox.tunnels", sandbox_id=last, seconds=0.1)
        assert (await here.ask("sandbox.get", sandbox_id=last))["position"] == 1
        await here.until(waits, "running")

    play(scene, web_port=0)


def test_a_browser_is_sent_where_the_sandbox_is_alone_and_other_protocols_are_refused(play):
    async def scene(platform):
        here, identity = await standing(platform)
        made = await here.ask("sandbox.token", sandbox_id=identity, port=80, metadata="{}")
        path, token = made["url"].rpartition("/")[2].encode(), made["token"].encode()
        shown = b"/%b/a?_modal_connect_token=%b" % (path, token)
        said = await asked(platform, b"GET %b HTTP/1.1\r\nHost: x\r\nSec-Fetch-Mode: navigate\r\n\r\n" % shown)
        assert b" 307 " in said and b"Location: http://%b.localhost:" % path[1:] in said
        host = b"Host: %b.localhost\r\n" % path[1:]
        said = await asked(platform, b"GET /a?_modal_connect_token=%b HTTP/1.1\r\n%b\r\n" % (token, host))
        assert b" 200 " in said and b"Path=/;" in said
        assert b"X-Verified-User-Data: {}" in here.worker.head and token not in here.worker.head
        browser = b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
        said = await asked(
            platform, b"GET //a?b=1&_modal_connect_token=%b HTTP/1.1\r\n%b%b\r\n" % (token, host, browser)
        )
        assert b" 303 " in said and b"\r\nLocation: /a?b=1\r\n" in said and b"Set-Cookie: _modal" in said
        said = await asked(platform, b"GET /\\a?_modal_connect_token=%b HTTP/1.1\r\n%b%b\r\n" % (token, host, browser))
        assert b"\r\nLocation: /a\r\n" in said
        said = await asked(platform, b"GET /q?_modal%%5Fconnect_token=%b HTTP/1.1\r\n%b\r\n" % (token, host))
        assert b" 200 " in said and b"GET /q HTTP" in here.worker.head and token not in here.worker.head
        h2c = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        assert b" 501 " in await asked(platform, b"GET %b HTTP/1.1\r\nHost: x\r\n%b" % (shown, h2c))
        sneaky = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: X-Verified-User-Data\r\nX_Verified-User_Data: me\r\n\r\n"
        assert b" 200 " in await asked(platform, sneaky % shown)
        assert b"me" not in here.worker.head.split(b"\r\n", 1)[1].replace(b"name", b"")

    play(scene, web_port=0)


def test_addresses_are_the_same_after_a_restart(play, home):
    async def scene(platform):
        here, identity = await standing(platform, ports=PORTS)
        before = await here.ask("sandbox.tunnels", sandbox_id=identity)
        token = await here.ask("sandbox.token", sandbox_id=identity, port=80)
        await platform.stop()
        await platform.start()
        worker = Worker(platform.home, None)
        worker.runners = here.worker.runners
        await worker.start()
        client = await platform.client()
        again = await client.request("sandbox.tunnels", sandbox_id=identity)
        assert again == before
        assert (await client.request("sandbox.token", sandbox_id=identity, port=80))["token"] == token["token"]

    play(scene, web_port=0)


def test_a_ticket_that_nobody_gave_opens_nothing(play):
    async def scene(platform):
        path = paths.containers_socket(platform.home).parent / web.SOCKET
        for hello in (b'{"ticket": "x"}\n', b'{"ticket": ""}\n', b"[]\n", b"3\n"):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(hello)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    play(scene, web_port=0)


def test_figures_of_an_app_are_of_its_own_sandboxes(play):
    async def scene(platform):
        here, identity = await standing(platform)
        await here.create(memory_request=15 << 10)
        await here.create(memory_request=15 << 10)
        await here.ask("sandbox.terminate", sandbox_id=identity)
        await here.until(identity, "finished")
        now = platform.core.clock.now()
        found = await here.ask("sandbox.figures", app_id=here.app, since=now - 60, until=now + 60)
        assert (found["created"], found["ended"], found["terminated"]) == (3, 1, 1)
        assert (found["running"] + found["waiting"], found["start"]["p50"] >= 0) == (2, True)
        assert (await here.ask("sandbox.figures", app_id="ap-x", since=0, until=now))["created"] == 0

    play(scene)


def test_tunnels_below_a_domain_of_ones_own_show_its_certificate(play, home):
    async def scene(platform):
        keeper = authority.Authority(home / "tls")
        keeper.make()
        (home / "tls/given").mkdir()
        keeper._made("shop.localhost").rename(home / "tls/given/_.tunnels.example.org.pem")
        here, _ = await standing(platform)
        with pytest.raises(exception.InvalidError, match="not registered"):
            await here.create(ports=PORTS, custom_domain="tunnels.example.org")
        await here.ask("domain.add", domain="*.tunnels.example.org")
        identity = await here.create(ports=PORTS, custom_domain="tunnels.example.org")
        await here.until(identity, "running")
        first, second = (await here.ask("sandbox.tunnels", sandbox_id=identity))["tunnels"]
        assert first["host"].endswith(".tunnels.example.org") and first["host"] != second["host"]
        trusting = ssl.create_default_context(cafile=home / "tls/authority.pem")
        trusting.check_hostname = False
        _, writer = await asyncio.open_connection(
            "127.0.0.1", first["number"], ssl=trusting, server_hostname=first["host"]
        )
        names = writer.get_extra_info("peercert")["subjectAltName"]
        assert names == (("DNS", "shop.localhost"),)
        writer.close()

    play(scene, web_port=0)


@pytest.mark.parametrize("vouched", [False, True])
def test_where_users_of_other_machines_come_they_find_ports_and_the_certificate_of_the_platform(
    play, monkeypatch, tmp_path, vouched
):
    monkeypatch.setattr(certificate, "pinned", lambda path: "" if vouched else "00")
    given = certificate.made(tmp_path, "127.0.0.2")

    async def scene(platform):
        here, identity = await standing(platform, ports=PORTS)
        first, second = (await here.ask("sandbox.tunnels", sandbox_id=identity))["tunnels"]
        host = "gpu.example.org" if vouched else "127.0.0.2"
        assert (first["host"], first["plain"], second["raw"] > 0) == (host, not vouched, True)
        # At 127.0.0.1 somebody else may have the same number.
        listening = {one._socket.getsockname() for one in platform.core.web.tunnels._open}
        assert {("127.0.0.2", first["number"]), ("127.0.0.2", second["raw"])} <= listening
        assert {host for host, _ in listening} == {"127.0.0.2"}
        _, writer = await asyncio.open_connection(
            "127.0.0.2", first["number"], ssl=ssl.create_default_context(cafile=given)
        )
        writer.close()
        told = await here.ask("sandbox.token", sandbox_id=identity, port=80)
        assert told["url"].startswith(f"http://127.0.0.2:{platform.core.web.port}/~sb-")

    play(
        scene, web_port=0, listen="127.0.0.2:0", web_host="127.0.0.2", web_name="127.0.0.2",
        public_host="gpu.example.org", tls_cert=str(given),
    )  # fmt: skip
