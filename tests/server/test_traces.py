"""Spans of calls: who belongs to whom, what is measured, and that a collector never holds anybody up."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
import types

import fakes
import pytest

import collector as collectors
import pretend
from windlass import exception, paths
from windlass.client import bridge, here, invoke, session
from windlass.client import tracing as client_tracing
from windlass.kit import ids, tracing
from windlass.server import settings

CALLER = tracing.Context("a" * 32, "b" * 16)


@pytest.fixture
def collector():
    made = collectors.Collector()
    yield made
    made.close()


def test_a_nested_call_is_a_child_of_the_attempt_that_makes_it(play, collector):
    seen = []

    async def scene(platform):
        client = await platform.client()

        async def work(args, kwargs, lease):
            seen.append(lease["traceparent"])
            if args[0] == "outer":
                # As the SDK in a container does it.
                (container,) = [c for c in platform.core.world.containers.values() if lease["input_id"] in c.held]
                token = platform.core.keyring.token(container.id)
                inner = await fakes.connect(
                    paths.containers_socket(platform.home), role="container", container_id=container.id, token=token
                )
                data = pickle.dumps((("inner",), {}))
                item = {"index": 0, "payload": {"at": 0, "size": len(data)}}
                body = {"call_id": ids.new("fc"), "function_id": second, "kind": "remote", "inputs": [item],
                        "closed": True, "parent_input_id": lease["input_id"]}  # fmt: skip
                async for _ in inner.stream("call.run", body, [data]):
                    pass
                inner.close()
            return 1

        await platform.worker(work)
        first = await client.app(tag="outer")
        second = await client.app(tag="inner")
        await client.run(first, ["outer"], traceparent=CALLER.text())

    play(scene, traces=f"{collector.url}/v1/traces", traces_headers={"x-key": "k"})
    spans = collector.wait("call outer", "run outer", "call inner", "run inner")
    assert {span["traceId"] for span in collector.spans} == {CALLER.trace} and len(collector.spans) == 8

    def parents(name: str) -> list[str]:
        by_id = {span["spanId"]: span for span in collector.spans}
        chain, span = [], spans[name]
        while (span := by_id.get(span.get("parentSpanId", ""))) is not None:
            chain.append(span["name"])
        return chain

    assert parents("run inner") == ["call inner", "run outer", "call outer"]
    assert spans["call outer"]["parentSpanId"] == CALLER.span
    starts = [span for span in collector.spans if span["name"] == "start container"]
    queues = {span["spanId"]: span for span in collector.spans if span["name"] == "queue"}
    assert len(starts) == len(queues) == 2 and {span["parentSpanId"] for span in starts} == set(queues)
    outer = spans["run outer"]
    assert int(outer["startTimeUnixNano"]) <= int(spans["call inner"]["startTimeUnixNano"])
    assert int(spans["call inner"]["endTimeUnixNano"]) <= int(outer["endTimeUnixNano"])
    assert f"00-{CALLER.trace}-{outer['spanId']}-01" == seen[0]  # what user code can tell others
    assert collector.headers[0]["x-key"] == "k"


def test_each_try_has_a_span_and_says_why_it_failed(play, collector):
    async def scene(platform):
        def work(args, kwargs, lease):
            if lease["attempt"] == 1:
                raise ValueError("the first try")
            return 1

        await platform.worker(work)
        client = await platform.client()
        retries = {"max_retries": 1, "initial_delay": 0.0, "backoff_coefficient": 1.0, "max_delay": 1.0}
        await client.run(await client.app(retries=retries), [1])
        await client.run(await client.app(tag="quiet"), [1], traceparent=f"00-{'c' * 32}-{'d' * 16}-00")

    play(scene, traces=f"{collector.url}/v1/traces")
    collector.wait("call f")
    first, second = [span for span in collector.spans if span["name"] == "run f"]
    assert first["status"] == {"code": 2, "message": "ValueError('the first try')"} and "status" not in second
    assert first["parentSpanId"] == second["parentSpanId"] and first["spanId"] != second["spanId"]
    assert "quiet" not in str(collector.spans)  # whoever calls has said that it shall not be recorded


def test_nothing_is_sent_and_nothing_more_travels_without_a_collector(play, monkeypatch):
    async def scene(platform):
        leases = []
        await platform.worker(lambda args, kwargs, lease: leases.append(lease))
        client = await platform.client()
        await client.run(await client.app(), [1])
        assert "traceparent" not in leases[0] and platform.core.tracer is None

    play(scene)


@pytest.mark.parametrize("how", ["broken", "stuck", "nobody there"])
def test_a_collector_that_fails_costs_spans_and_no_time(collector, how):
    exporter = tracing.Exporter(
        "http://127.0.0.1:9/v1/traces" if how == "nobody there" else f"{collector.url}/v1/traces", service="s"
    )
    collector.broken = how == "broken"
    if how == "stuck":
        collector.stuck.clear()
    span = tracing.Span("s", CALLER, "", 1.0, 2.0)
    began = time.monotonic()
    for _ in range(20_000):
        exporter.add(span)
    assert time.monotonic() - began < 4.0
    assert exporter.lost >= 20_000 - tracing._MOST - 2 * tracing._BATCH if how == "stuck" else exporter.sent == 0
    if how != "stuck":
        exporter.flush(10.0)
        assert exporter.lost == 20_000


@pytest.mark.parametrize(
    ("text", "good"),
    [(CALLER.text(), True), ("", False), ("00-x", False), (f"00-{'0' * 32}-{'b' * 16}-01", False),
     (f"ff-{'a' * 32}-{'b' * 16}-01", False), (f"00-{'A' * 32}-{'b' * 16}-01", False),
     (f"01-{'a' * 32}-{'b' * 16}-01-more", True)],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(text, good):
    found = tracing.parse(text)
    assert (found is not None) is good and (found is None or (found.trace, found.span) == (CALLER.trace, CALLER.span))


def test_the_variables_of_opentelemetry_say_where_spans_go(tmp_path):
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c, d=e"}
    found = settings.from_environment(tmp_path, base)
    assert found.traces == "http://c:4318/v1/traces" and found.traces_headers == {"a": "b c", "d": "e"}
    assert "b c" not in repr(found)
    assert settings.from_environment(tmp_path, {**base, "OTEL_SDK_DISABLED": "true"}).traces == ""
    assert settings.from_environment(tmp_path, {}).traces == ""


def test_a_client_has_spans_of_its_own_and_belongs_to_those_of_its_program(tmp_path, collector, monkeypatch):
    function = types.SimpleNamespace(_known_id="fu-1", _tag="f", _method="", _app=None, _expect=lambda generator: None)
    monkeypatch.setattr(session, "_current", None)
    monkeypatch.setattr(client_tracing, "_said", None)
    monkeypatch.delenv("TRACEPARENT", raising=False)
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setattr(here, "plan", None)

    async def call() -> object:
        try:
            return (await invoke.Remote(function, pickle.dumps(((1,), {}))))()
        finally:
            await session.current().close()

    with pretend.Platform(tmp_path, lambda x: x + 1) as platform:

        def bodies():
            return [body for method, body in platform.seen if method == "call.run"]

        assert asyncio.run(call()) == 2 and "traceparent" not in bodies()[-1]
        monkeypatch.setenv("TRACEPARENT", CALLER.text())
        monkeypatch.setattr(client_tracing, "_said", None)
        asyncio.run(call())
        assert bodies()[-1]["traceparent"] == CALLER.text()
        flags = types.SimpleNamespace(is_valid=True, trace_id=0xC0FFEE, span_id=0xBEEF, trace_flags=1)
        current = types.SimpleNamespace(get_span_context=lambda: flags)
        module = types.SimpleNamespace(get_current_span=lambda: current)
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setattr(client_tracing, "_said", None)
        asyncio.run(call())
        span = collector.wait("f.remote")["f.remote"]
        assert span["traceId"] == f"{0xC0FFEE:032x}" and span["parentSpanId"] == f"{0xBEEF:016x}"
        assert bodies()[-1]["traceparent"] == f"00-{span['traceId']}-{span['spanId']}-01"
        assert span["service"] == "windlass-client"


def test_a_call_that_is_refused_or_left_has_its_span_too(tmp_path, collector, monkeypatch):
    function = types.SimpleNamespace(_known_id="fu-1", _tag="f", _method="", _app=None, _expect=lambda generator: None)
    monkeypatch.setattr(session, "_current", None)
    monkeypatch.setattr(client_tracing, "_said", None)
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setattr(here, "plan", None)
    with pretend.Platform(tmp_path, lambda x: x) as platform:
        platform.on_call_run = lambda incoming, body: incoming.fail(exception.NotFoundError("no such function"))
        with pytest.raises(exception.NotFoundError):
            bridge.run(invoke.Remote(function, pickle.dumps(((1,), {}))))
        refused = collector.wait("f.remote")["f.remote"]
        assert refused["status"]["message"] == "NotFoundError"
        collector.spans.clear()
        function._tag = "g"
        platform.on_call_run = lambda incoming, body: None

        async def leave() -> None:
            await asyncio.wait_for(bridge.hop(invoke.Remote(function, pickle.dumps(((1,), {})))), 0.3)

        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(leave())
        assert collector.wait("g.remote")["g.remote"]["status"]["message"] == "cancelled"
        bridge.run(session.current().close())
