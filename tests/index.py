"""A package index and a proxy of a company, on loopback: asks for a password, knows one package, notes who came.

The same server is both: asked for a path it is the index, asked for a whole address it is a proxy that fetches it.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

PACKAGE = "windlass_own_package"
VERSION = "1.0"
_WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"


def wheel() -> bytes:
    """The package: one module that says ``value = 42``."""
    info = f"{PACKAGE}-{VERSION}.dist-info"
    files = {
        f"{PACKAGE}.py": "value = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return data.getvalue()


class Index:
    """``port`` on 127.0.0.1; ``index`` and ``proxied``: what was asked for, by path or by whole address."""

    def __init__(self, password: str) -> None:
        self.index: list[str] = []
        self.proxied: list[str] = []
        self._password = password
        self._wheel = wheel()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def url(self, user: str = "me", password: str | None = None) -> str:
        return f"http://{user}:{password or self._password}@127.0.0.1:{self.port}/simple"

    def answer(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        address = urlsplit(asked.path)
        if address.scheme:
            self.proxied.append(asked.path)
            self._fetch(asked)
            return
        self.index.append(address.path)
        wanted = "Basic " + base64.b64encode(f"me:{self._password}".encode()).decode()
        if asked.headers.get("Authorization") != wanted:
            _send(asked, 401, b"who are you?", {"WWW-Authenticate": "Basic"})
        elif address.path.endswith(".whl"):
            _send(asked, 200, self._wheel)
        elif address.path.rstrip("/") == f"/simple/{PACKAGE.replace('_', '-')}":
            _send(asked, 200, f'<a href="/files/{_WHEEL}">{_WHEEL}</a>'.encode(), {"Content-Type": "text/html"})
        else:
            _send(asked, 404, b"no such package")

    def _fetch(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(asked.path, headers={"User-Agent": asked.headers.get("User-Agent", "")})
        try:
            with direct.open(request, timeout=30) as answer:
                _send(asked, answer.status, answer.read())
        except urllib.error.HTTPError as exc:
            _send(asked, exc.code, exc.read())
        except OSError as exc:
            _send(asked, 502, str(exc).encode())


def _send(
    asked: http.server.BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    with contextlib.suppress(OSError):
        asked.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            asked.send_header(name, value)
        asked.end_headers()
        if asked.command != "HEAD":
            asked.wfile.write(body)


@contextlib.contextmanager
def serving(password: str = "pw") -> Iterator[Index]:
    index = Index(password)
    thread = threading.Thread(target=index.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.server.shutdown()
        thread.join()
        index.server.server_close()
