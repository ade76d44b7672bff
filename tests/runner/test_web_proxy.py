"""What becomes of what a program at a port answers, sense or nonsense."""
from __future__ import annotations

import asyncio
import json

import pytest

from runner import edge_end
from windlass import exception
from windlass.runner.web import proxy
from windlass.wire import web


def asked(
    answer: bytes, method: str = "GET", carrier: edge_end.Carrier | None = None
) -> tuple[list[tuple[int, bytes]], str]:
    """The frames of one request to a program that says ``answer`` and closes the connection; how the input failed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def scene() -> tuple[list[tuple[int, bytes]], str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        edge, failed = carrier or edge_end.Carrier(), ""
        program = proxy.Program(server.sockets[0].getsockname()[1], edge)  # type: ignore[arg-type]
        program._host = "127.0.0.1"
        ends = web.ends("http", "127.0.0.1", 1, "localhost", 80)
        head = web.head("http", method, "/", "", "", "1.1", ends, [b"host: x"], body=False)
        try:
            await asyncio.wait_for(program(web.numbered(1, head)), 5)
        except exception.ExecutionError as exc:
            failed = str(exc)
        server.close()
        return edge.frames, failed

    return asyncio.run(scene())


def status(frames: list[tuple[int, bytes]]) -> int:
    return int(json.loads(frames[0][1])["status"])


@pytest.mark.parametrize(
    "nonsense",
    [
        b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n", b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b"\xff\x00" * 100,
    ],
)  # fmt: skip
def test_nonsense_of_a_program_is_a_502_and_a_line_in_the_log(nonsense):
    frames, failed = asked(nonsense)
    assert status(frames) == 502 and frames[-1][0] == web.END
    assert failed


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
    ],
)
def test_a_response_that_breaks_off_is_seen_to_break_off(broken):
    frames, failed = asked(broken)
    assert status(frames) == 200 and failed
    assert frames[-1][0] == web.GONE and not any(kind == web.END for kind, _ in frames)


def test_chunks_count_where_a_length_stands_beside_them():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + b"5;x=y\r\nabcde\r\n0\r\nT: x\r\n\r\n"
    frames, failed = asked(answer)
    assert not failed and b"".join(data for kind, data in frames if kind == web.BODY) == b"abcde"
    assert "content-length" not in str(frames[0][1]).lower()


def test_interim_answers_are_passed_over_and_a_head_has_no_body():
    answer = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    frames, failed = asked(answer, "HEAD")
    assert not failed and status(frames) == 200 and [kind for kind, _ in frames] == [web.HEAD, web.END]


class Leaving(edge_end.Carrier):
    """The client of each request goes away when it has something of the body."""

    def stream(self, number):
        self.last = super().stream(number)
        return self.last

    def write(self, data):
        super().write(data)
        if self.frames[-1][0] == web.BODY:
            self.last.take(web.GONE, b"")


@pytest.mark.parametrize("more", [b"", b"5\r\nfghij\r\n"])
def test_a_program_whose_client_leaves_has_not_failed(more):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n" + more
    frames, failed = asked(answer, carrier=Leaving())
    assert failed == "" and [kind for kind, _ in frames] == [web.HEAD, web.BODY]
    frames, failed = asked(answer)
    assert "closed the connection early" in failed and frames[-1][0] == web.GONE


class Counting(edge_end.Carrier):
    """Knows which frames were said together. ``short``: there is little credit for the body, and more comes later."""

    def __init__(self, short):
        super().__init__()
        self.short, self.said = short, []

    def stream(self, number):
        self.last = super().stream(number)
        return self.last

    def write(self, data):
        before = len(self.frames)
        super().write(data)
        self.said.append([kind for kind, _ in self.frames[before:]])
        if self.short and web.HEAD in self.said[-1]:
            self.last.credit = 1
            asyncio.get_running_loop().call_later(0.1, self.last.take, web.CREDIT, (1000).to_bytes(4, "big"))


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_the_end_of_a_response_is_never_left_out_and_goes_with_its_last_bytes_where_those_are_known(answer, short):
    carrier = Counting(short)
    frames, failed = asked(answer, carrier=carrier)
    assert not failed and frames[-1] == (web.END, b"") and [kind for kind, _ in frames].count(web.END) == 1
    if b"Content" in answer:
        assert carrier.said[-1] in ([web.HEAD, web.END], [web.BODY, web.END])
