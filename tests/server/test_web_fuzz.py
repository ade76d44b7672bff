"""The edge's parser under malformed and ambiguous requests: no crash, no hang, and nobody is answered for another."""
from __future__ import annotations

import asyncio
import random

import fakes
import pytest
import sites

from windlass.kit import ids
from windlass.wire import web

HERE, OTHER = b"local--here-dev.localhost", b"local--other-dev.localhost"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: " + OTHER + b"\r\n\r\n"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
CLOSING = b"GET / HTTP/1.1\r\nHost: " + HERE + b"\r\nConnection: close\r\n\r\n"


class Mirror(sites.Site):
    """Says whom it was asked as, and takes bodies."""

    async def work(self, args, kwargs, lease):
        tag = lease["spec"]["tag"]
        if tag not in self.paths:  # its container has just been made
            self.paths[tag] = await self.open()
        head = sites.told(args[0])
        self.heads.append(head)
        number, host = head["n"], dict(head["headers"]).get("host", "").encode("latin-1")
        frames = [(web.HEAD, b'{"status":200,"headers":[]}'), (web.BODY, b"for " + host), (web.END, b"")]
        self.paths[tag].write(b"".join(web.pack(kind, number, data) for kind, data in frames))


async def asked(platform, data: bytes, patience: float = 0.2) -> bytes:
    """What comes back until nothing more comes, or the edge closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.core.web.port)
    got = b""
    try:
        writer.write(data)
        while piece := await asyncio.wait_for(reader.read(65536), patience):
            got += piece
    except (ConnectionError, asyncio.TimeoutError):  # the first, before Python 3.11, is none of the second
        pass
    finally:
        writer.close()
    return got


async def standing(platform) -> Mirror:
    site = Mirror()
    site.worker = await platform.worker(site.work)
    client = await platform.client()
    many = {"max_inputs": 100, "target_inputs": 100}
    app, here, other = ids.new("ap"), ids.new("fu"), ids.new("fu")
    await client.request("app.create", app_id=app, name=None, description="t")
    for identity, label in ((here, "here"), (other, "other")):
        spec = {**fakes.SPEC, "tag": label, "web": {**sites.ASGI, "label": label}, "concurrency": many}
        await client.request("function.create", app_id=app, function_id=identity, spec=spec)
    await client.request("app.publish", app_id=app, functions={"here": here, "other": other})
    return site


def framed(*headers: bytes, body: bytes = CHUNKED) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: " + HERE + b"\r\n" + b"".join(one + b"\r\n" for one in headers) + b"\r\n" + body


SMUGGLERS = [
    framed(b"Content-Length: %d" % len(CHUNKED), b"Transfer-Encoding: chunked"),
    framed(b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    framed(b"Content-Length: 0", b"Content-Length: %d" % len(INNER), body=INNER),
    framed(b"Content-Length: +0", body=INNER),
    framed(b"Content-Length: 0, %d" % len(INNER), body=INNER),
    framed(b"Content-Length: 0x0", body=INNER),
    framed(b"Content-Length: -0", body=INNER),
    framed(b"Content-Length:\r\n 0", body=INNER),
    framed(b"Transfer-Encoding: xchunked", body=INNER),
    framed(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + INNER),
    framed(b"Transfer-Encoding: identity, chunked, x", body=b"0\r\n\r\n" + INNER),
    framed(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + INNER),
    framed(b"Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + INNER),
    framed(b"X: y\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER),
    framed(b"X: y\x00", b"Content-Length: 0", body=INNER),
    framed(b"Transfer-Encoding: chunked", body=b"-1\r\n" + INNER),
    framed(b"Transfer-Encoding: chunked", body=b"ffffffffffffffffff\r\n" + INNER),
    framed(b"Transfer-Encoding: chunked", body=b"0x0\r\n\r\n" + INNER),
    framed(b"Transfer-Encoding: chunked", body=b"1;a=\n\r\nx\r\n0\n\n" + INNER),
    framed(b"Transfer-Encoding: chunked", body=b"5\r\nabcdeX\r\n0\r\n\r\n" + INNER),
    b"GET / HTTP/1.1\r\nHost: " + HERE + b"\r\nX: y\r\n : z\r\n\r\n" + INNER,
    b"GET / HTTP/1.1\nHost: " + HERE + b"\n\r\n\r\r\n" + b"\x00" + INNER,
    b"GET / HTTP/1.1 \r\nHost: " + HERE + b"\r\nHost: " + OTHER + b"\r\n\r\n" + INNER,
    b"GET /\x00 HTTP/1.1\r\nHost: " + HERE + b"\r\n\r\n" + INNER,
    b"GET / HTTP/1.1\r\nHost: " + HERE + b"\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(400)) + b"\r\n" + INNER,
]


def test_what_can_be_read_in_two_ways_is_refused_and_what_hides_in_it_is_not_seen(play):
    async def scene(platform):
        site = await standing(platform)
        assert b"for " + HERE in await asked(platform, CLOSING, 10)
        answers = await asyncio.gather(*(asked(platform, data) for data in SMUGGLERS))
        for number, answer in enumerate(answers):
            assert b"for " + OTHER not in answer, (number, answer)
        assert not any(head["path"] == "/smuggled" for head in site.heads)
        assert b"for " + OTHER in await asked(platform, CLOSING.replace(HERE, OTHER), 10)

    play(scene, web_port=0)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_requests_neither_stop_the_edge_nor_get_anothers_answer(play, seed):
    chance = random.Random(seed)
    pieces = [
        b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\r\n\r\n", b"0\r\n\r\n", b"\xff\xfe",
        b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/2.0", b"%00", b"/../", b"http://evil/", b"*", b"A" * 9000,
        b"X-Forwarded-For: 1.1.1.1\r\n", b"Modal-Session-ID: a\r\n", b"__modal_function_call_id=fc-1",
    ]  # fmt: skip
    good = [
        b"GET /a?b=c HTTP/1.1\r\nHost: " + HERE + b"\r\nX-A: b\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: " + HERE + b"\r\nContent-Length: 4\r\n\r\nbody",
        b"POST /c HTTP/1.1\r\nHost: " + HERE + b"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ]

    def mutated() -> bytes:
        data = bytearray(b"".join(chance.choices(good, k=chance.randrange(1, 4))))
        for _ in range(chance.randrange(1, 6)):
            at, how = chance.randrange(len(data) + 1), chance.random()
            if how < 0.3 and at < len(data):
                data[at] = chance.randrange(256)
            elif how < 0.8:
                data[at:at] = chance.choice(pieces)
            else:
                del data[at : at + chance.randrange(1, 20)]
        return bytes(data)

    async def scene(platform):
        site = await standing(platform)
        for _ in range(4):
            answers = await asyncio.gather(*(asked(platform, mutated()) for _ in range(40)))
            assert not any(b"for " + OTHER in answer for answer in answers)
            assert not any(answer.startswith(b"HTTP/1.1 500") for answer in answers)
        assert b"for " + HERE in await asked(platform, CLOSING, 10)
        assert not any(one.startswith("6.6") for head in site.heads for one in head["client"][:1])
        table = platform.core.world
        for _ in range(300):
            if not table.calls:
                break
            await asyncio.sleep(0.01)
        assert all(call.done_at is not None for call in table.calls.values())

    play(scene, web_port=0)
