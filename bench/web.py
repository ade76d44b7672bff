"""The web edge beside uvicorn: requests a second, latency, streams, WebSockets, first requests of functions at zero.

    python bench/web.py                 needs the platform of WINDLASS_HOME, wrk, caddy, fastapi and uvicorn;
                                        RAY_PYTHON: a Python that has ray[serve], for Ray Serve beside it
    python bench/web.py --only streams,sockets      a part of it: full, paced, programs, streams, sockets, first

The same app is served by both; wrk runs on loopback, so all of them share the processors of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import http.client
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import windlass
from windlass import paths

app = windlass.App("bench-web")
image = windlass.Image.debian_slim().pip_install("fastapi")
MIB = 1024 * 1024


def hello():
    import fastapi

    site = fastapi.FastAPI()

    @site.get("/")
    async def root():
        return {"hello": "world"}

    return site


@app.function(image=image)
@windlass.concurrent(max_inputs=1000)
@windlass.asgi_app(label="bench-hello")
def through_the_edge():
    return hello()


@app.function()
@windlass.concurrent(max_inputs=3000)
@windlass.asgi_app(label="bench-raw")
def raw():
    async def serve(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})
            return
        size = 0
        while True:
            event = await receive()
            size += len(event.get("body", b""))
            if not event.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left, piece = int(scope["query_string"] or b"0"), b"x" * (256 * 1024)
        while left > 0:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            left -= len(piece)
        await send({"type": "http.response.body", "body": b"%d" % size})

    return serve


PROGRAM = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True

    def do_GET(self):
        body = b"x" * (1024 * 1024 if self.path == "/mib" else 17)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""


@app.function()
@windlass.concurrent(max_inputs=100)
@windlass.web_server(8000, startup_timeout=20, label="bench-program")
def behind_the_edge():
    subprocess.Popen([sys.executable, "-c", PROGRAM, "8000"])


@app.function(scaledown_window=2)
@windlass.wsgi_app(label="bench-cold")
def cold():
    def serve(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]

    return serve


@app.function(scaledown_window=2)
def plain() -> None:
    return None


def wrk(url: str, host: str, seconds: int, connections: int) -> dict[str, float]:
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {host}", url],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = {"rate": float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1])}  # type: ignore[index]
    for name, share in (("p50", "50%"), ("p99", "99%")):
        number, unit = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", out).groups()  # type: ignore[union-attr]
        found[name] = float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
    found["failed"] = float(match[1]) if (match := re.search(r"Non-2xx or 3xx responses: (\d+)", out)) else 0.0
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def paced(port: int, host: str, rate: float, connections: int, seconds: float) -> dict[str, float]:
    """Open loop: requests begin when they are due. Where the connection still waits for its last answer then, its next
    time counts from when it was due; else from when it was sent: what this program is late by is no one else's."""
    data = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    begun, step = time.perf_counter() + 0.2, connections / rate
    ends, times = begun + seconds, []
    due = [(begun + n / rate, n, False) for n in range(connections)]
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
        for one in socks:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting: dict[socket.socket, tuple[float, float, int]] = {}
        come: dict[socket.socket, bytes] = {}
        while due or waiting:
            while due and due[0][0] <= (now := time.perf_counter()):
                at, number, late = heapq.heappop(due)
                waiting[socks[number]] = (at if late else now, at, number)
                socks[number].sendall(data)
            patience = max(0.0, due[0][0] - time.perf_counter()) if due else 5.0
            for one in select.select(list(waiting), [], [], patience)[0]:  # epoll would wait for whole milliseconds
                text = come[one] = come.get(one, b"") + one.recv(65536)
                head, whole, body = text.partition(b"\r\n\r\n")
                if not whole or len(body) < int(re.search(rb"content-length: (\d+)", head.lower())[1]):  # type: ignore[index]
                    continue
                now, come[one] = time.perf_counter(), b""
                since, at, number = waiting.pop(one)
                times.append((now - since) * 1000)
                if max(now, at + step) < ends:
                    heapq.heappush(due, (at + step, number, at + step < now))
    times.sort()
    return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "n": len(times)}


@contextlib.contextmanager
def program(command: list[str], port: int) -> Iterator[int]:
    server = subprocess.Popen(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def uvicorn() -> contextlib.AbstractContextManager[int]:
    port = free_port()
    return program(
        [sys.executable, "-m", "uvicorn", "--factory", "web:hello", "--port", str(port), "--log-level", "warning"], port
    )


@contextlib.contextmanager
def caddy() -> Iterator[int]:
    """In front of uvicorn."""
    port = free_port()
    with uvicorn() as behind:
        command = ["caddy", "reverse-proxy", "--from", f"http://:{port}", "--to", f"127.0.0.1:{behind}"]
        with program(command, port):
            yield port


def ray_serve() -> contextlib.AbstractContextManager[int]:
    port = free_port()
    return program([os.environ["RAY_PYTHON"], "ray_serve_peer.py", str(port)], port)


def processor(pid: int) -> float:
    """Seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def server_pid() -> int:
    return int((paths.run(paths.home()) / "server.pid").read_text())


def ask(port: int, label: str, path: str = "/") -> tuple[int, int, float]:
    """Status, bytes of the response, seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Host": f"local--{label}-dev.localhost"})
    response = connection.getresponse()
    size, buffer = 0, bytearray(MIB)
    while count := response.readinto(buffer):
        size += count
    connection.close()
    return response.status, size, time.perf_counter() - begun


def resident() -> int:
    """Bytes of the server."""
    lines = Path(f"/proc/{server_pid()}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class Zeros:
    """A body of so many bytes, sent in large pieces."""

    def __init__(self, size: int) -> None:
        self.left, self.piece = size, b"\0" * (256 * 1024)

    def __iter__(self):
        while self.left > 0:
            yield self.piece[: self.left]
            self.left -= len(self.piece)


def programs(port: int) -> None:
    """What a ``web_server`` costs, beside its program alone."""
    ask(port, "bench-program")
    alone = free_port()
    with program([sys.executable, "-c", PROGRAM, str(alone)], alone):
        for path, what in (("/", "hello"), ("/mib", "1 MiB")):
            for name, at in (("edge", port), ("the program alone", alone)):
                one = wrk(f"http://127.0.0.1:{at}{path}", "local--bench-program-dev.localhost", 3, 1)
                print(f"| a program at a port, {what}, {name} | {one['rate']:,.0f}/s, p50 {one['p50']:.2f} ms |")


def streams(port: int) -> None:
    ask(port, "bench-raw")
    before = resident()
    _, size, seconds = ask(port, "bench-raw", f"/?{1024 * MIB}")
    down = size / seconds / 1e6
    grown = resident() - before
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    begun = time.perf_counter()
    head = {"Host": "local--bench-raw-dev.localhost", "Content-Length": str(1024 * MIB)}
    connection.request("POST", "/", body=iter(Zeros(1024 * MIB)), headers=head)
    assert connection.getresponse().read() == str(1024 * MIB).encode()
    up = 1024 * MIB / (time.perf_counter() - begun) / 1e6
    grown = max(grown, resident() - before)
    print(f"| 1 GiB streamed, down / up | {down:,.0f} / {up:,.0f} MB/s; the server grew by {grown / MIB:.0f} MiB |")


async def sockets(port: int, count: int, seconds: int) -> None:
    import aiohttp  # here alone: containers import this file, too

    url, host = f"http://127.0.0.1:{port}/", {"Host": "local--bench-raw-dev.localhost"}
    times: list[float] = []

    async def one(client: aiohttp.ClientSession, gate: asyncio.Semaphore, number: int) -> None:
        async with gate:
            ws = await client.ws_connect(url, headers=host)
        opened.append(ws)
        await everybody.wait()
        await asyncio.sleep(number / count)
        for _ in range(seconds):
            begun = time.perf_counter()
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            times.append(time.perf_counter() - begun)
            await asyncio.sleep(1)
        await ws.close()

    opened: list[object] = []
    everybody, gate = asyncio.Event(), asyncio.Semaphore(50)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        tasks = [asyncio.create_task(one(client, gate, number)) for number in range(count)]
        while len(opened) < count:
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        everybody.set()
        await asyncio.gather(*tasks)
    times.sort()
    p50, p99 = times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000
    print(f"| {count:,} WebSockets, an echo each second | p50 {p50:.1f} ms, p99 {p99:.1f} ms (n={len(times):,}) |")


def first_requests(port: int, times: int) -> None:
    """Each waits until the container of the one before is gone."""
    asked, called = [], []
    for _ in range(times):
        time.sleep(6)
        asked.append(ask(port, "bench-cold")[2] * 1000)
        begun = time.perf_counter()
        plain.remote()
        called.append((time.perf_counter() - begun) * 1000)
    print(
        f"| first request to a function at zero; a call of one | {statistics.median(asked):.0f} ms; "
        f"{statistics.median(called):.0f} ms (n={times}) |"
    )


def peers() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("edge", None), ("uvicorn alone", uvicorn), ("Caddy and uvicorn", caddy)]
    return found + ([("Ray Serve", ray_serve)] if os.environ.get("RAY_PYTHON") else [])


def rates(port: int, host: str, chosen: argparse.Namespace) -> None:
    """As many requests as can be: then time added is throughput that is missing."""
    for connections in (chosen.connections, 1):
        found: dict[str, dict[str, float]] = {}
        for name, peer in peers():
            with peer() if peer is not None else contextlib.nullcontext(port) as at:
                url = f"http://127.0.0.1:{at}/"
                wrk(url, host, 2, connections)
                used = processor(server_pid())
                one = found[name] = wrk(url, host, chosen.seconds, connections)
            figures = f"{one['rate']:,.0f}/s, p50 {one['p50']:.2f}, p99 {one['p99']:.2f} ms, {one['failed']:.0f} failed"
            if peer is None:
                each = (processor(server_pid()) - used) / (one["rate"] * chosen.seconds) * 1e6
                figures += f"; {each:.0f} µs of the server's processor for each"
            print(f"| FastAPI hello, {connections} connections at full load, {name} | {figures} |")
        print(f"| share of uvicorn | {found['edge']['rate'] / found['uvicorn alone']['rate']:.0%} |")


def moderate(port: int, host: str, chosen: argparse.Namespace) -> None:
    """At rates that can be served: then time added is time."""
    for name, peer in peers():
        with peer() if peer is not None else contextlib.nullcontext(port) as at:
            paced(at, host, chosen.rates[-1], chosen.connections, 1)
            for rate in chosen.rates:
                one = paced(at, host, rate, chosen.connections, chosen.seconds)
                what = f"FastAPI hello, {chosen.connections} connections at {rate:g} requests a second, {name}"
                print(f"| {what} | p50 {one['p50']:.2f}, p99 {one['p99']:.2f} ms (n={one['n']:,}) |")


PARTS = ("full", "paced", "programs", "streams", "sockets", "first")


def measure(part: str, port: int, host: str, chosen: argparse.Namespace) -> None:
    if part == "full":
        rates(port, host, chosen)
    elif part == "paced":
        moderate(port, host, chosen)
    elif part == "programs":
        programs(port)
    elif part == "streams":
        streams(port)
    elif part == "sockets":
        asyncio.run(sockets(port, chosen.sockets, 5))
    else:
        first_requests(port, 5)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    options.add_argument("--seconds", type=int, default=8)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--rates", type=float, nargs="+", default=[200, 500, 1000], help="of the open loop")
    options.add_argument("--sockets", type=int, default=2000)
    chosen = options.parse_args()
    with app.run():
        port = int(through_the_edge.get_web_url().rpartition(":")[2])
        ask(port, "bench-hello")
        print("| what | figure |\n|---|---|", flush=True)
        for part in PARTS:
            if part in chosen.only.split(","):
                measure(part, port, "local--bench-hello-dev.localhost", chosen)


if __name__ == "__main__":
    main()
