"""A collector of traces on loopback: takes OTLP over HTTP as JSON and keeps the spans."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import Any


class Collector:
    """``spans`` by name, in order of arrival; ``broken``: answer 503, ``stuck``: do not answer."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.broken = False
        self.stuck = threading.Event()
        self.stuck.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.stuck.wait(20)
                if not outer.broken and self.path == "/v1/traces":
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    for resource in body["resourceSpans"]:
                        service = resource["resource"]["attributes"][0]["value"]["stringValue"]
                        for scope in resource["scopeSpans"]:
                            outer.spans += [{**span, "service": service} for span in scope["spans"]]
                self.send_response(503 if outer.broken else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True, args=(0.02,)).start()

    def close(self) -> None:
        self.stuck.set()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, *names: str) -> dict[str, dict[str, Any]]:
        """The last span of each name, once they are all there."""
        deadline = time.monotonic() + 15
        while True:
            found = {span["name"]: span for span in list(self.spans)}
            if set(names) <= set(found):
                return found
            assert time.monotonic() < deadline, f"{names} did not come; there are {sorted(found)}"
            time.sleep(0.02)
