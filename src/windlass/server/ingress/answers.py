"""What the edge says by itself: plain text, a status, and no more than a stranger may know."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web as http

from windlass import exception
from windlass.server.state import moves
from windlass.wire import web


class Refusal(Exception):
    """The edge's own answer."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = headers


class Said(NamedTuple):
    status: int
    text: str


_ENDING = frozenset({400, 408, 413})
_ENDED = {
    moves.Status.SUCCESS: Said(502, "the app did not answer"),
    moves.Status.FAILURE: Said(500, "the app failed; its log says why"),
    moves.Status.TIMEOUT: Said(504, "the app did not answer within its timeout"),
    moves.Status.TERMINATED: Said(503, "the request was stopped, because its app or container was"),
    moves.Status.INIT_FAILURE: Said(502, "the app's containers cannot start; its log says why"),
    moves.Status.CRASH: Said(502, "the app's container died"),
}


def ended(status: int) -> Refusal:
    """For an input that ended without a response."""
    said = _ENDED.get(moves.Status(status), Said(502, "the app did not answer"))
    return Refusal(said.status, said.text)


def response(status: int, text: str, headers: Mapping[str, str] | None = None) -> http.Response:
    """The edge's own words. After some of them nobody knows where the next request would begin."""
    made = http.Response(status=status, text=text + "\n", headers={"Server": "windlass", **(headers or {})})
    if status in _ENDING:
        made.force_close()
    return made


NOTHING_HERE = "there is nothing here"
BUSY = "too many requests wait for this app"
TOO_FAST = "too many requests a second"
NOT_READY = "no container of this server is ready; one is being started"
FULL = "all containers of this server are busy"
LOST = "the app's container closed the connection before it answered"
BAD_BODY = "the request's body is malformed or too large"

_LINES = re.compile(rb"(?:[^:\s\0][^:\r\n\0]*: [^\r\n\0]*\r\n)*").fullmatch


def sound(count: int, lines: bytes) -> bool:
    """Whether these are so many headers, and nothing else. (A line break in one would make it two.)"""
    return lines.count(b"\n") == count and _LINES(lines) is not None


def parted(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """A whole response as the frames that it could have come in."""
    try:
        status, count, lines, body = web.read_whole(data)
    except exception.InvalidError:
        return (web.HEAD, b""), (web.END, b"")
    head = b""
    if sound(count, lines):
        pairs = [line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n")[:-1]]
        head = json.dumps({"status": status, "headers": pairs}).encode()
    return (web.HEAD, head), (web.BODY, body), (web.END, b"")
