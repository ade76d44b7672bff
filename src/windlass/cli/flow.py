"""Asking a platform elsewhere for a token: show a code, open the page, wait until somebody has approved.

The page leads back to a server on this machine when that is done, so that the browser says so, too; what counts is the
answer that is waited for.
"""
from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib import parse

import click

from windlass import exception
from windlass.wire import status

_ROOT = "/-/token/flows"
_PATIENCE = 15 * 60.0
_ANSWER = 60.0  # longer than the platform holds a question back
_PAUSE = 1.0
_RETURN = 3.0  # for the page, which looks every two seconds, to come back and say that all is well


def run(url: str, fingerprint: str, *, name: str, expires_in: float | None) -> Any:
    """A token of the platform at ``url``: what ``identity.TokenCreated`` says."""
    platform = _Platform(url, fingerprint)
    with _callback() as (callback, came_back):
        body = {"name": name, "callback": callback, "expires_in": expires_in}
        flow = platform.post(_ROOT, body)[1]
        page = platform.base + flow["page"]
        click.echo(f"Your code is {flow['code']}. An owner or manager of the platform, who finds the same code at\n")
        click.echo(f"    {page}\n\nruns `windlass token approve {flow['code']}`. Waiting …")
        is_open = sys.stdout.isatty() and _opened(page)
        made = _waited(platform, flow)
        if is_open:
            came_back.wait(_RETURN)
        return made


def _opened(page: str) -> bool:
    import webbrowser

    return webbrowser.open(page)


def _waited(platform: _Platform, flow: Any) -> Any:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            code, body = platform.post(f"{_ROOT}/{flow['flow']}/wait", {}, secret=flow["secret"])
        except exception.ConnectionError:
            time.sleep(_PAUSE)
            continue
        if code == 200:
            return body
    raise exception.AuthError("nobody approved this in time", hint="Ask again: `windlass token new`.")


class _Platform:
    """The HTTP of a platform. A certificate that is pinned by its fingerprint needs no other reason to be trusted."""

    def __init__(self, url: str, fingerprint: str) -> None:
        parts = parse.urlsplit(url)
        secure = parts.scheme in ("https", "wss", "https+post")
        if not parts.hostname or (not secure and parts.scheme not in ("http", "ws", "http+post")):
            raise exception.InvalidError(f"{url!r} is no address of a platform", hint="Like https://host:8643.")
        self._pinned = (fingerprint or parts.fragment).lower().removeprefix("sha256=").replace(":", "")
        self._secure, self._host = secure, parts.hostname
        self._port = parts.port or (443 if secure else 80)
        self._prefix = parts.path.rstrip("/")
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.base = f"{'https' if secure else 'http'}://{host}:{self._port}{self._prefix}"

    def post(self, path: str, body: Any, *, secret: str = "") -> tuple[int, Any]:
        """Status and answer. Raises what the platform says."""
        headers = {"Content-Type": "application/json"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        try:
            with contextlib.closing(self._connected()) as connection:
                connection.request("POST", self._prefix + path, json.dumps(body), headers)
                answer = connection.getresponse()
                code, data = answer.status, answer.read()
        except ssl.SSLCertVerificationError as exc:
            raise exception.AuthError(
                f"the certificate of {self.base} is not trusted: {exc.verify_message or exc.reason}",
                hint="Pass --fingerprint with what `windlass server status` shows on the platform's machine; for the "
                "certificate of a company, set SSL_CERT_FILE.",
            ) from None
        except (OSError, http.client.HTTPException) as exc:
            raise exception.ConnectionError(
                f"the platform does not answer at {self.base}: {exc}", hint="Is it running, and is the address right?"
            ) from None
        try:
            found = json.loads(data)
        except ValueError:
            raise exception.ConnectionError(
                f"what answers at {self.base} is no platform that gives tokens", hint="Is the address right?"
            ) from None
        if code >= 400:
            raise status.from_wire(found)
        return code, found

    def _connected(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER)
        context = ssl.create_default_context()
        if self._pinned:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = http.client.HTTPSConnection(self._host, self._port, timeout=_ANSWER, context=context)
        if self._pinned:
            made.connect()
            shown = hashlib.sha256(made.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if shown != self._pinned:
                made.close()
                raise exception.AuthError(
                    f"the platform at {self.base} shows another certificate: sha256 {shown}, not {self._pinned}",
                    hint="Ask whoever runs it whether it has a new one; then pass --fingerprint.",
                )
        return made


@contextlib.contextmanager
def _callback() -> Iterator[tuple[str, threading.Event]]:
    """A server for the browser to come back to, and whether it has."""
    came = threading.Event()

    class Done(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"The token is there. You may close this page.\n")
            came.set()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Done)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
