"""Traces in the words of OpenTelemetry: where a piece of work belongs (W3C ``traceparent``), how long it took, and
sending that to a collector (OTLP over HTTP, as JSON). The standard library is enough, so containers have it, too.

Sending never holds anybody up: spans wait in a queue of limited length for a thread of their own, and what does not fit
is counted and lost.
"""
from __future__ import annotations

import os
import threading
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

INTERNAL, SERVER, CLIENT = 1, 2, 3
_MOST, _BATCH = 8192, 512
_EVERY, _PATIENCE = 1.0, 5.0


class Context:
    """A span of a trace, in lower hexadecimal digits. What is not ``sampled`` is not exported by anybody."""

    __slots__ = ("sampled", "span", "trace")

    def __init__(self, trace: str, span: str, *, sampled: bool = True) -> None:
        self.trace = trace
        self.span = span
        self.sampled = sampled

    def text(self) -> str:
        """As ``traceparent`` has it."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"


def parse(text: str) -> Context | None:
    """What a ``traceparent`` says; None for what is none, which is as if there were none."""
    parts = text.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    if any(char not in "0123456789abcdef" for part in parts[:4] for char in part):
        return None
    if not int(parts[1], 16) or not int(parts[2], 16):
        return None
    return Context(parts[1], parts[2], sampled=bool(int(parts[3], 16) & 1))


def new_trace() -> str:
    return os.urandom(16).hex()


def new_span() -> str:
    return os.urandom(8).hex()


class Span:
    """Something that took from ``start`` to ``end`` (seconds since the epoch). ``error``: why it failed, if it did."""

    __slots__ = ("attributes", "context", "end", "error", "kind", "name", "parent", "start")

    def __init__(
        self, name: str, context: Context, parent: str, start: float, end: float, *, kind: int = INTERNAL,
        error: str = "", attributes: Mapping[str, str | float] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.context, self.parent = name, context, parent
        self.start, self.end, self.kind, self.error = start, max(start, end), kind, error
        self.attributes = attributes or {}

    def plain(self) -> dict[str, Any]:
        """As OTLP has it in JSON."""
        made: dict[str, Any] = {
            "traceId": self.context.trace, "spanId": self.context.span, "name": self.name, "kind": self.kind,
            "startTimeUnixNano": str(int(self.start * 1e9)), "endTimeUnixNano": str(int(self.end * 1e9)),
            "attributes": [_attribute(key, value) for key, value in self.attributes.items()],
        }  # fmt: skip
        if self.parent:
            made["parentSpanId"] = self.parent
        if self.error:
            made["status"] = {"code": 2, "message": self.error}
        return made


def _attribute(key: str, value: str | float) -> dict[str, Any]:
    kind = "stringValue" if isinstance(value, str) else "intValue" if isinstance(value, int) else "doubleValue"
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


class Exporter:
    """Sends spans to ``url``, some at once. ``headers``: for a collector that wants to know who sends."""

    def __init__(self, url: str, *, service: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._service = service
        self._headers = dict(headers or {})
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self.sent = self.lost = 0

    def add(self, span: Span) -> None:
        """Have it sent soon. Never waits."""
        if not span.context.sampled:
            return
        if len(self._waiting) >= _MOST:
            self.lost += 1
            return
        self._waiting.append(span)
        if self._pid != os.getpid():  # none yet, or left behind in the parent of a fork
            self._begin()
        if len(self._waiting) >= _BATCH:
            self._wake.set()

    def flush(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        deadline = time.monotonic() + seconds
        while self._thread is not None and (self._waiting or not self._idle.is_set()) and time.monotonic() < deadline:
            self._wake.set()
            self._idle.wait(0.01)
            time.sleep(0.002)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._wake, self._idle = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="windlass-traces", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._idle.set()
            self._wake.wait(_EVERY)
            self._wake.clear()
            self._idle.clear()
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                if self._send(some):
                    self.sent += len(some)
                else:
                    self.lost += len(some)

    def _send(self, spans: list[Span]) -> bool:
        """Whether the collector has taken them. What it does not take is not tried again: traces are no records."""
        import http.client
        import json
        import urllib.error
        import urllib.request

        resource = {"attributes": [_attribute("service.name", self._service)]}
        scope = {"scope": {"name": "windlass"}, "spans": [span.plain() for span in spans]}
        body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        try:
            request = urllib.request.Request(self._url, body, headers)
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                answer.read()
        except (OSError, http.client.HTTPException, urllib.error.URLError, ValueError):
            return False
        return True


def endpoint(environ: Mapping[str, str]) -> str:
    """Where OpenTelemetry's own variables say that traces go; "" for nowhere."""
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    url = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base.rstrip('/')}/v1/traces" if base else "")
    if not url:
        return ""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return "" if off else url


def headers(environ: Mapping[str, str]) -> dict[str, str]:
    """What they say to send along: ``name=value,name=value``."""
    from urllib.parse import unquote

    text = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = [part.partition("=") for part in text.split(",") if "=" in part]
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
