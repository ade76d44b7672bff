"""Web functions of each kind that need nothing in their image."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import windlass

app = windlass.App("test-web")


async def _answer(send, body: bytes, status: int = 200, headers=()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(scope, receive, send) -> None:
    await receive()
    scope["state"]["begun"] = os.getpid()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("lifespan is over", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def _socket(scope, receive, send) -> None:
    await receive()
    if scope["path"] == "/refuse":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            print(f"socket closed with {event['code']}", flush=True)
            return
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "asked"})
            return
        if event.get("text") == "fail":
            raise RuntimeError("the socket's app failed")
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


async def _upload(receive, send) -> None:
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            print(f"upload ended early after {size}", flush=True)
            return
        size += len(event["body"])
        if not event["more_body"]:
            await _answer(send, str(size).encode())
            return


async def _download(scope, send) -> None:
    left, piece = int(scope["query_string"]), b"x" * 100_000
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while left:
        part = piece[:left]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        left -= len(part)
    await send({"type": "http.response.body", "body": b""})


async def _events(send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(0.5 if number else 5)
    await send({"type": "http.response.body", "body": b""})


async def _wait(receive, send) -> None:
    print("waiting", flush=True)
    await receive()
    try:
        event = await receive()
        print(f"waited until {event['type']}", flush=True)
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("the input was cancelled", flush=True)
        raise


async def _site(scope, receive, send) -> None:
    kind, path = scope["type"], scope.get("path", "")
    if kind == "lifespan":
        await _lifespan(scope, receive, send)
    elif kind == "websocket":
        await _socket(scope, receive, send)
    elif path == "/upload":
        await _upload(receive, send)
    elif path == "/download":
        await _download(scope, send)
    elif path == "/events":
        await _events(send)
    elif path == "/wait":
        await _wait(receive, send)
    elif path == "/fail":
        raise ValueError("it failed on purpose")
    elif path == "/late":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise ValueError("it failed in the middle")
    elif path == "/silent":
        return
    elif path == "/twice":
        for _ in range(2):
            await send({"type": "http.response.start", "status": 200, "headers": []})
    elif path == "/unknown":
        await send({"type": "http.response.never"})
    elif path == "/short":
        await _answer(send, b"some", headers=[(b"content-length", b"100")])
    elif path == "/split":
        await _answer(send, b"", headers=[(b"x-split", b"a\r\nset-cookie: b")])
    elif path == "/die":
        os._exit(3)
    elif path == "/state":
        scope["state"]["mine"] = True
        await _answer(send, repr(sorted(scope["state"])).encode())
    else:
        seen = {**scope, "state": sorted(scope["state"])}
        headers = [(b"x-one", b"1"), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
        await _answer(send, repr(seen).encode(), headers=headers)


@app.function(timeout=30)
@windlass.concurrent(max_inputs=200)
@windlass.asgi_app(label="site")
def site():
    return _site


@app.function(timeout=1)
@windlass.asgi_app(label="slow")
def slow():
    async def serve(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.sleep(30)

    return serve


@app.function()
@windlass.wsgi_app(label="wsgi")
def wsgi():
    def serve(environ, start_response):
        size = len(environ["wsgi.input"].read())
        start_response("201 Made", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
        print("wsgi was asked", flush=True)
        return (piece for piece in (b"got ", str(size).encode(), b" by ", environ["REQUEST_METHOD"].encode()))

    return serve


_PROGRAM = """
import base64, hashlib, socketserver

class Program(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        if b"upgrade: echo" in head.lower():
            self.wfile.write(b"HTTP/1.1 101 Switching\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
            while data := self.request.recv(1000):
                self.wfile.write(data.upper())
            return
        if b" /nonsense " in head:
            self.wfile.write(b"what?\\r\\n\\r\\n")
            return
        if b" /early " in head:
            return
        body = head if b" /head " in head else b"program"
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n" % len(body))
        self.wfile.write(b"Connection: close\\r\\n\\r\\n" + body)

socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("0.0.0.0", 9000), Program).serve_forever()
"""


@app.function()
@windlass.concurrent(max_inputs=50)
@windlass.web_server(9000, label="program")
def program():
    subprocess.Popen([sys.executable, "-c", _PROGRAM])


@app.function()
@windlass.asgi_app(label="guarded", requires_proxy_auth=True)
def guarded():
    return _site


@app.cls()
class Greeter:
    word: str = windlass.parameter()
    times: int = windlass.parameter(default=1)

    @windlass.enter()
    def prepare(self) -> None:
        self.text = " ".join([self.word] * self.times)

    @windlass.wsgi_app()
    def greet(self):
        def serve(environ, start_response):
            start_response("200 OK", [])
            return [self.text.encode()]

        return serve

    @windlass.method()
    def say(self) -> str:
        return self.text


@app.function()
def plain() -> float:
    return time.time()
