"""Traces on the side of whoever calls: which span a call belongs to, and one of its own where a collector is named.

A call belongs to the span that the program's own OpenTelemetry has current, if it uses that; else to the one that
``TRACEPARENT`` names; in a container the server knows it by itself.
"""
from __future__ import annotations

import atexit
import os
import sys
import time

from windlass.client import here
from windlass.kit import tracing

_said: tuple[tracing.Exporter | None, str] | None = None
"""What the environment said when this process first called something: where to send spans, and ``TRACEPARENT``."""
_LAST = 2.0  # seconds at the end of the program for spans to leave


class Call:
    """A call under way: ``text`` travels with it."""

    __slots__ = ("_exporter", "_name", "_over", "_parent", "_start", "context", "text")

    def __init__(self, name: str, parent: tracing.Context | None, exporter: tracing.Exporter) -> None:
        self._name, self._exporter = name, exporter
        self._parent = parent.span if parent is not None else ""
        trace, sampled = (parent.trace, parent.sampled) if parent is not None else (tracing.new_trace(), True)
        self.context = tracing.Context(trace, tracing.new_span(), sampled=sampled)
        self.text = self.context.text()
        self._start = time.time()
        self._over = False

    def end(self, error: str = "") -> None:
        """Only the first end counts."""
        if self._over:
            return
        self._over = True
        self._exporter.add(
            tracing.Span(
                self._name, self.context, self._parent, self._start, time.time(), kind=tracing.CLIENT, error=error
            )
        )


def begin(name: str) -> Call | None:
    """The call's own span; None where no collector is named."""
    exporter = (_said or _read())[0]
    if exporter is None:
        return None
    return Call(name, tracing.parse(ambient() or here.traceparent.get()), exporter)


def _read() -> tuple[tracing.Exporter | None, str]:
    global _said
    exporter = None
    if url := tracing.endpoint(os.environ):
        service = os.environ.get("OTEL_SERVICE_NAME") or "windlass-client"
        exporter = tracing.Exporter(url, service=service, headers=tracing.headers(os.environ))
        atexit.register(exporter.flush, _LAST)
    _said = exporter, "" if here.in_container() else os.environ.get("TRACEPARENT", "")
    return _said


def ambient() -> str:
    """The span that is current in the program itself, as ``traceparent``; "" where there is none."""
    otel = sys.modules.get("opentelemetry.trace")
    if otel is not None:
        found = otel.get_current_span().get_span_context()
        if found.is_valid:
            sampled = bool(found.trace_flags & 1)
            return tracing.Context(f"{found.trace_id:032x}", f"{found.span_id:016x}", sampled=sampled).text()
    return (_said or _read())[1]
