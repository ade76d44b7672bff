"""Ports of sandboxes and connect tokens: real programs in real containers, reached by sockets and HTTP of all kinds."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import windlass
from stage import Stage, until
from windlass import exception

ECHO = '''
import hashlib, base64, socketserver, sys, http.server

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade"):
            return self.socket()
        body = (self.path + "\\n" + "".join(f"{k.lower()}: {v}\\n" for k, v in self.headers.items())).encode()
        self.answer(body)
    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else self.chunks()
        self.answer(hashlib.sha256(body).hexdigest().encode())
    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def socket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response_only(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while data := self.connection.recv(65536):
            self.connection.sendall(data)
        self.close_connection = True
    def log_message(self, *_):
        pass

class Shout(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello\\n")
        data = b""
        while piece := self.request.recv(65536):
            data += piece
        self.request.sendall(data.upper())

import threading
http.server.ThreadingHTTPServer.daemon_threads = True
threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Page).serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer.allow_reuse_address = True
print("ready", flush=True)
socketserver.ThreadingTCPServer(("0.0.0.0", 9000), Shout).serve_forever()
'''


@pytest.fixture(scope="module")
def app(stage: Stage) -> windlass.App:
    stage.base()
    return windlass.App.lookup("test-sandbox-ports", create_if_missing=True)


@pytest.fixture(scope="module")
def served(app: windlass.App) -> Iterator[windlass.Sandbox]:
    sandbox = windlass.Sandbox.create(
        "python3", "-c", ECHO, app=app, timeout=600, encrypted_ports=[8080], h2_ports=[8081],
        unencrypted_ports=[9000], readiness_probe=windlass.Probe.with_tcp(9000),
    )  # fmt: skip
    sandbox.wait_until_ready(timeout=30)
    yield sandbox
    sandbox.terminate(wait=True)


def fetch(url: str, headers: dict[str, str] | None = None, data: Any = None) -> tuple[int, str, Any]:
    request = urllib.request.Request(url, headers=headers or {}, data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as said:
            return said.status, said.read().decode(), said.headers
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode(), refused.headers


def spoken(port: int, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """What comes back for these bytes and their end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        made = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        made.sendall(data)
        if context is None:
            made.shutdown(socket.SHUT_WR)
        got = b""
        while piece := made.recv(65536):
            got += piece
        return got


def trusting(stage: Stage, port: int) -> ssl.SSLContext:
    """Trusts the local authority, which is made when the first visitor wants TLS; then it is another visitor."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        ssl._create_unverified_context().wrap_socket(plain, server_hostname="localhost").close()
    return ssl.create_default_context(cafile=stage.home / "tls" / "authority.pem")


def test_a_port_is_reached_by_http_and_by_tls_and_tcp_is_handed_on_byte_by_byte(served, stage):
    tunnels = served.tunnels()
    assert sorted(tunnels) == [8080, 8081, 9000] and tunnels == served.tunnels()
    assert fetch(tunnels[8080].url + "/a?b=c")[1].startswith("/a?b=c\n")
    with pytest.raises(exception.InvalidError, match="plain TCP"):
        _ = tunnels[8080].tcp_socket
    assert spoken(tunnels[9000].tcp_socket[1], b"abc" * 100_000) == b"hello\n" + b"ABC" * 100_000
    said = spoken(tunnels[8080].tls_socket[1], b"GET /tls HTTP/1.0\r\n\r\n", trusting(stage, tunnels[8080].port))
    assert said.startswith(b"HTTP/1.1 200") and b"/tls\n" in said


def test_tls_of_an_h2_port_offers_http_2_and_hands_its_bytes_on(app, served, stage):
    tunnels = served.tunnels()
    offered = {}
    for port in (8080, 8081):
        context = trusting(stage, tunnels[port].port)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(tunnels[port].tls_socket, timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as made:
                offered[port] = made.selected_alpn_protocol()
                assert port == 8080 or made.recv(1) == b"", "nobody listens at 8081"
    assert offered == {8080: "http/1.1", 8081: "h2"}


def test_a_token_opens_its_port_and_the_program_is_told_whose_it_is_in_our_words(served):
    url, token = served.create_connect_token(user_metadata={"user": "ada"})
    bearer = {"Authorization": f"Bearer {token}"}
    code, said, _ = fetch(f"{url}/p/q?x=1", {**bearer, "X-Verified-User-Data": "me", "x_verified_user_data": "me"})
    assert code == 200 and said.startswith("/p/q?x=1\n") and 'x-verified-user-data: {"user":"ada"}' in said
    assert "me\n" not in said and token not in said
    code, said, headers = fetch(f"{url}/?a=1&_modal_connect_token={token}&b=2")
    assert code == 200 and said.startswith("/?a=1&b=2\n") and token not in said
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    shown = f"theme=dark; {cookie.partition(';')[0]}"
    code, said, _ = fetch(url, {"Cookie": shown, "Authorization": "Basic b3duOm9uZQ=="})
    assert code == 200 and "cookie: theme=dark\n" in said and "authorization: Basic b3duOm9uZQ==" in said
    assert token not in said
    assert fetch(f"{url}?_windlass_connect_token={token}")[0] == 200
    body = b"x" * 3_000_000
    assert fetch(url, bearer, body)[1] == fetch(url, bearer, iter([body[:1000], body[1000:]]))[1]
    anonymous = served.create_connect_token()
    assert "x-verified-user-data" not in fetch(anonymous.url, {"Authorization": f"Bearer {anonymous.token}"})[1]


def test_a_websocket_passes_with_a_token(served):
    url, token = served.create_connect_token()
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    key = base64.b64encode(b"0123456789abcdef").decode()
    with socket.create_connection((host, int(port)), timeout=10) as made:
        path = f"/{url.rpartition('/')[2]}/chat?_modal_connect_token={token}"
        made.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += made.recv(1)
        assert head.startswith(b"HTTP/1.1 101") and b"Sec-WebSocket-Accept" in head
        sent = bytes(range(256)) * 4096
        threading.Thread(target=made.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += made.recv(65536)
        assert got == sent


def test_what_is_no_token_for_this_sandbox_opens_nothing_and_learns_nothing(app, served):
    url, token = served.create_connect_token()
    other = windlass.Sandbox.create("python3", "-m", "http.server", "8080", app=app)
    elsewhere, alien = other.create_connect_token()
    nowhere = f"{url[:-20]}{'0' * 20}"
    answers = {fetch(where)[:2] for where in (url, elsewhere, nowhere)}
    assert len(answers) == 1 and answers.pop()[0] == 401
    text, _, signature = token.partition(".")
    claim = json.dumps([served.object_id, 22, '{"user":"root"}'])
    forged = base64.urlsafe_b64encode(claim.encode()).decode().rstrip("=")
    for wrong in (f"{forged}.{signature}", f"{text}.{'0' * 64}", text, "", "a.b", "\u00e9.b", token + "0"):
        assert fetch(url, {"Authorization": f"Bearer {wrong}".encode().decode("latin-1")})[0] == 401
    for where in (url, nowhere):
        assert fetch(where, {"Authorization": f"Bearer {alien}"})[:2] == (403, fetch(nowhere)[1])
    other.terminate(wait=True)
    assert fetch(elsewhere, {"Authorization": f"Bearer {alien}"})[0] == 403
    with pytest.raises(exception.ConflictError):
        other.create_connect_token()
    with pytest.raises(exception.ConflictError):
        other.tunnels()
    nobody = served.create_connect_token(port=99)
    code, said, _ = fetch(nobody.url, {"Authorization": f"Bearer {nobody.token}"})
    assert code == 502 and "port 99" in said


def test_who_is_not_in_the_list_is_not_let_in(app):
    sandbox = windlass.Sandbox.create(
        "python3", "-m", "http.server", "8000", app=app, encrypted_ports=[8000], unencrypted_ports=[9000],
        inbound_cidr_allowlist=["203.0.113.0/24"], readiness_probe=windlass.Probe.with_tcp(8000),
    )  # fmt: skip
    sandbox.wait_until_ready(timeout=30)
    with pytest.raises((OSError, urllib.error.URLError)):
        urllib.request.urlopen(sandbox.tunnels()[8000].url, timeout=10)
    url, token = sandbox.create_connect_token(port=8000)
    assert fetch(url, {"Authorization": f"Bearer {token}"})[0] == 403
    sandbox.terminate()


def test_a_connection_keeps_a_sandbox_from_being_idle_and_ends_with_it(app):
    program = "import socketserver as s\nclass H(s.BaseRequestHandler):\n def handle(self): self.request.recv(1)\n"
    sandbox = windlass.Sandbox.create(
        "python3", "-c", program + "s.ThreadingTCPServer(('', 7000), H).serve_forever()", app=app, idle_timeout=2,
        unencrypted_ports=[7000], readiness_probe=windlass.Probe.with_tcp(7000),
    )  # fmt: skip
    command = sandbox.exec("cat")  # keeps it until somebody is connected
    sandbox.wait_until_ready(timeout=30)
    where = sandbox.tunnels()[7000].tcp_socket
    with socket.create_connection(where, timeout=10) as held:
        command.stdin.write_eof()
        command.stdin.drain()
        assert command.wait() == 0
        end = time.monotonic() + 4
        held.settimeout(4)
        with pytest.raises(TimeoutError):
            held.recv(1)
        assert time.monotonic() >= end - 0.5 and sandbox.poll() is None
        sandbox.terminate(wait=True)
        held.settimeout(10)
        assert held.recv(1) == b""
    until(lambda: refused(where), what="a closed port")


def refused(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, timeout=2).close()
    except OSError:
        return True
    return False


def test_addresses_and_tokens_outlive_the_server(served, stage):
    before, (url, token) = served.tunnels(), served.create_connect_token()
    stage.kill("server")
    assert served.tunnels() == before
    until(lambda: worked(before[8080].url), what="the tunnel is there again")
    assert fetch(url, {"Authorization": f"Bearer {token}"})[0] == 200
    stage.kill("worker")
    until(lambda: worked(before[8080].url), what="the tunnel by another worker")


def worked(url: str) -> bool:
    try:
        return fetch(url)[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "asked, match",
    [
        ({"encrypted_ports": [0]}, "no port"), ({"h2_ports": ["80"]}, "no port"),
        ({"unencrypted_ports": [True]}, "port"),
        ({"encrypted_ports": 80}, "list"), ({"encrypted_ports": [80], "h2_ports": [80]}, "twice"),
        ({"encrypted_ports": list(range(1, 70))}, "64"), ({"encrypted_ports": [80], "block_network": True}, "network"),
        ({"custom_domain": "https://x"}, "domain"), ({"custom_domain": "not.registered.example"}, "registered"),
    ],
)  # fmt: skip
def test_ports_that_make_no_sense_are_refused(app, asked, match):
    with pytest.raises(exception.InvalidError, match=match):
        windlass.Sandbox.create(app=app, **asked)


def test_tokens_that_make_no_sense_are_refused(served):
    for wrong in ({"port": 0}, {"port": "80"}, {"user_metadata": "x" * 512}, {"user_metadata": {1, 2}},
                  {"user_metadata": "a\r\nb: c"}, {"user_metadata": float("nan")}):  # fmt: skip
        with pytest.raises(exception.InvalidError):
            served.create_connect_token(**wrong)
    with pytest.raises(exception.InvalidError):
        served.tunnels(timeout=0)


def test_one_that_waits_for_room_says_its_place_in_line(app):
    most = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.6)
    first = windlass.Sandbox.create(app=app, memory=most)
    first.exec("true").wait()
    second = windlass.Sandbox.create(app=app, memory=most, encrypted_ports=[80])
    with pytest.raises(exception.SandboxTimeoutError, match="number 1 of those that wait"):
        second.tunnels(timeout=0.3)
    for one in (second, first):
        one.terminate(wait=True)
