"""What becomes of what ASGI and WSGI apps answer, sense or nonsense."""
from __future__ import annotations

import asyncio
import json

import pytest

from runner import edge_end
from windlass.runner.web import asgi, wsgi
from windlass.runner.web import carrier as carriers
from windlass.wire import web

START = {"type": "http.response.start", "status": 200, "headers": []}
HEAD = web.numbered(1, web.head(
    "http", "GET", "/", "", "", "1.1", web.ends("http", "127.0.0.1", 1, "localhost", 80), [b"host: x"], body=False
))  # fmt: skip


def asked(make, carrier=None) -> list[tuple[int, bytes]]:
    """The frames of one request to what ``make(carrier)`` gives; how it failed is the last of them."""
    carrier = carrier or edge_end.Carrier()

    async def scene() -> list[tuple[int, bytes]]:
        try:
            await asyncio.wait_for(make(carrier)(HEAD), 5)
        except Exception as exc:
            carrier.frames.append((0, type(exc).__name__.encode()))
        return carrier.frames

    return asyncio.run(scene())


def sending_app(*events):
    async def app(scope, receive, send):
        for event in events:
            await send(event)

    return app


def sending(*events):
    return lambda carrier: asgi.App(sending_app(*events), carrier)


def starting(*calls, body=(b"",)):
    def app(environ, start_response):
        for call in calls:
            start_response(*call)
        return list(body)

    return lambda carrier: wsgi.App(app, carrier, 1)


@pytest.mark.parametrize(
    "make",
    [
        sending(), sending(START), sending(START, START), sending({"type": "http.response.body", "body": b"x"}),
        sending({"type": "what"}), sending({**START, "headers": [("a", "b")]}), starting(), starting(body=(b"x",)),
        starting(("200 OK", []), ("200 OK", [])),
    ],
)  # fmt: skip
def test_an_app_that_breaks_its_interface_gives_502_and_fails_its_input(make):
    frames = asked(make)
    assert [kind for kind, _ in frames] == [web.HEAD, web.BODY, web.END, 0]
    assert json.loads(frames[0][1])["status"] == 502 and b"its log says more" in frames[1][1]
    assert frames[-1][1] == carriers.Broken.__name__.encode()


def test_an_app_that_raises_says_nothing_itself():
    async def app(scope, receive, send):
        raise ValueError("no")

    assert asked(lambda carrier: asgi.App(app, carrier)) == [(web.GONE, b""), (0, b"ValueError")]


def test_what_an_app_says_well_arrives_as_it_is():
    start = {**START, "headers": [(b"a", b"b"), (b"A", b"")]}
    frames = asked(sending(start, {"type": "http.response.body", "body": b"x"}))
    assert [kind for kind, _ in frames] == [web.WHOLE]
    assert web.read_whole(frames[0][1]) == (200, 2, b"a: b\r\nA: \r\n", b"x")


def test_an_answer_that_does_not_come_at_once_comes_in_parts():
    async def slow(scope, receive, send):
        await send({**START, "headers": [(b"a", b"b")]})
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"x"})

    frames = asked(lambda carrier: asgi.App(slow, carrier))
    assert [kind for kind, _ in frames] == [web.HEAD, web.BODY, web.END] and frames[1][1] == b"x"
    assert json.loads(frames[0][1]) == {"status": 200, "headers": [["a", "b"]]}
    frames = asked(sending({**START, "status": "200"}, {"type": "http.response.body", "body": b"x"}))
    assert json.loads(frames[0][1])["status"] == "200"  # the edge says what it thinks of that
    more = {"type": "http.response.body", "body": b"x", "more_body": True}
    frames = asked(sending(START, more, {"type": "http.response.body"}))
    assert [kind for kind, _ in frames] == [web.HEAD, web.BODY, web.END]


class Transport:
    """Keeps what is written, in its pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))


def test_answers_that_are_ready_together_go_out_in_small_groups_and_one_alone_at_once():
    async def scene(count: int) -> list[int]:
        carrier = carriers.Carrier({"socket": "/x/s.sock", "container_id": "ta-1", "token": "t"})
        carrier._loop, carrier._transport = asyncio.get_running_loop(), Transport()
        carrier.lend(lambda leases: None)
        carrier._flush()
        carrier._transport.pieces.clear()
        app = asgi.App(sending_app(START, {"type": "http.response.body", "body": b"x"}), carrier)
        carrier.data_received(b"".join(web.lease(n, "in-1", "fc-1", 1, "", b"") for n in range(count)))
        await asyncio.gather(*[app(web.numbered(n, HEAD.partition(b"\n")[2])) for n in range(count)])
        await asyncio.sleep(0)
        groups: list[int] = []
        for piece in carrier._transport.pieces:
            kinds: list[int] = []
            web.Reader(lambda kind, number, data, kinds=kinds: kinds.append(kind)).feed(piece)
            groups.append(kinds.count(web.WHOLE))
        return groups

    assert asyncio.run(scene(10)) == [4, 4, 2]
    assert asyncio.run(scene(1)) == [1]


class Left(edge_end.Carrier):
    """The client of each request is gone before the app says anything."""

    def stream(self, number):
        stream = super().stream(number)
        stream.take(web.GONE, b"")
        return stream


class Lost(edge_end.Carrier):
    """The connection to the edge is lost."""

    def stream(self, number):
        stream = super().stream(number)
        stream.lost()
        return stream


class ClientDisconnect(Exception):
    """As frameworks tell their routes."""


async def _told(scope, receive, send):
    try:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
    except OSError:
        raise ClientDisconnect from None


async def _clumsy(scope, receive, send):
    try:
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
    except OSError:
        raise ValueError("no") from None


def test_an_app_that_answers_nobody_has_not_failed_but_what_else_goes_wrong_is_told():
    answer = sending(START, {"type": "http.response.body", "body": b"x"})
    assert asked(answer, Left()) == []
    assert asked(lambda carrier: asgi.App(_told, carrier), Left()) == []
    assert asked(lambda carrier: asgi.App(_clumsy, carrier), Left()) == [(0, b"ValueError")]
    assert asked(answer, Lost()) == [(0, b"Gone")]


def test_a_wsgi_app_that_answers_nobody_has_not_failed():
    answer = starting(("200 OK", []), body=(b"x",))
    assert asked(answer, Left()) == []
    assert asked(answer, Lost())[-1] == (0, b"Gone")
