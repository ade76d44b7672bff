"""Promise 4, for dicts and queues: what was acknowledged survives kills and lost answers; nothing comes twice."""
from __future__ import annotations

import asyncio
import collections
import contextlib
import types

import pytest

import windlass
from windlass import paths, wire
from windlass.client import address, bridge, line, numbers, session
from windlass.kit import ids

KILLS = 2
_CUT = 5  # of so many pieces of what the server says one is swallowed, with its connection


class Relay:
    """Between a client and the server: the server does what it was asked, and its answer is lost."""

    def __init__(self, server) -> None:
        self._target = str(paths.server_socket(server.home))
        self.path = str(server.home / "relay.sock")
        self._count = 0
        self.cuts = 0

    async def __aenter__(self) -> Relay:
        self._listener = await asyncio.start_unix_server(self._connected, self.path)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            there, back = await asyncio.open_unix_connection(self._target)
            with contextlib.closing(back):
                asking = asyncio.ensure_future(self._forward(reader, back))
                while data := await there.read(1 << 20):
                    self._count += 1
                    if self._count % _CUT == 0:
                        self.cuts += 1
                        break
                    writer.write(data)
                asking.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                writer.write(data)
            writer.close()


@pytest.fixture
def connected(monkeypatch):
    """``connected(relay)``: the SDK's own session with the server behind it, in the test's loop."""

    def connect(relay: Relay) -> session.Session:
        hello = {"role": "user", "protocol": wire.PROTOCOL, "version": windlass.__version__, "client_id": ids.new("cl")}
        made = session.Session(address.Address(relay.path, hello, autostart=False))
        monkeypatch.setattr(session, "_current", made)
        return made

    yield connect
    monkeypatch.setattr(session, "_current", None)


async def prompted(prompt: bridge.Prompt):
    """As the library's thread does it for a program."""
    loop = asyncio.get_running_loop()
    done, library = asyncio.Event(), types.SimpleNamespace(loop=loop, door=bridge.Door(loop))
    outcome = bridge.Outcome(library, prompt, done.set)
    try:
        await done.wait()
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    return outcome.result()


async def opened(home, kind: str) -> str:
    body = {"id": ids.new("qu" if kind == "queue" else "di"), "create": "missing", "name": "n"}
    return (await home.request(f"{kind}.open", body)).body["id"]


async def killing(server, progress) -> None:
    """Kill the server again and again, each time that something has happened since."""
    for _ in range(KILLS):
        before = progress()
        while progress() < before + 20:
            await asyncio.sleep(0.001)
        await server.restart()


@pytest.mark.parametrize("how", ["as coroutines", "by callbacks"])
def test_each_item_that_was_put_is_got_once_whatever_is_killed_and_cut(act, connected, how):
    async def scene(server):
        async with Relay(server) as relay:
            await _scene(server, connected(relay))
            assert relay.cuts >= 3

    async def _scene(server, home):
        queue, got, put = await opened(home, "queue"), [], []
        over = asyncio.Event()

        async def putting(n: int) -> None:
            i = 0
            while not over.is_set():
                value = b"%d %d" % (n, i)
                body = {"id": queue, "partition": "", "ttl": 600.0}
                if how == "by callbacks":
                    await prompted(line.Put(body, [value]))
                else:
                    await line.put(body, [value], None)
                put.append(value)
                i += 1

        async def getting(count: int) -> None:
            while True:
                body = {"id": queue, "partition": "", "count": count, "wait": True}
                if how == "by callbacks":
                    got.extend((await prompted(line.Get(body, None, list)))())
                else:
                    got.extend((await line.get(body, None)).values)

        getters = [asyncio.ensure_future(getting(1 + n)) for n in range(3)]
        putters = [asyncio.ensure_future(putting(n)) for n in range(3)]
        await killing(server, lambda: min(len(got), len(put)))
        over.set()
        await asyncio.gather(*putters)
        while len(got) < len(put):
            await asyncio.sleep(0.01)
        for getter in getters:
            getter.cancel()
        await asyncio.gather(*getters, return_exceptions=True)
        assert [value for value, n in collections.Counter(got).items() if n > 1] == []
        assert sorted(got) == sorted(put)
        for n in range(3):
            mine = [value for value in put if value.startswith(b"%d " % n)]
            assert mine == [b"%d %d" % (n, i) for i in range(len(mine))]
        await home.close()

    act(scene)


def test_each_change_of_a_dict_is_made_once_whatever_is_killed_and_cut(act, connected):
    async def scene(server):
        async with Relay(server) as relay:
            await _scene(server, connected(relay))
            assert relay.cuts >= 3

    async def _scene(server, home):
        identity, won, popped = await opened(home, "dict"), [], []
        over = asyncio.Event()

        async def change(method: str, key: bytes, *value: bytes, **more):
            body = {"id": identity, **more}
            if value:
                body |= {"value": {"at": 1, "size": len(value[0])}}
            return await numbers.change(home, f"dict.{method}", body, [key, *value])

        async def locking(n: int) -> None:
            i = 0
            while not over.is_set():
                key, mine = b"lock %d" % (i // 3), b"%d %d" % (n, i)
                if (await change("put", key, mine, skip_if_exists=True)).body["written"]:
                    won.append((key, mine))
                    await change("put", b"token " + mine, mine)
                i += 1

        async def popping() -> None:
            seen = 0
            while not over.is_set() or seen < len(won):
                if seen == len(won):
                    await asyncio.sleep(0.001)
                    continue
                reply = await change("pop", won[seen][0])
                popped.append((won[seen][0], reply.attachments[0]))
                seen += 1

        workers = [asyncio.ensure_future(locking(n)) for n in range(4)]
        await killing(server, lambda: len(won))
        over.set()
        await asyncio.gather(*workers)
        assert len({key for key, _ in won}) == len(won), "each lock was won once"
        for key, mine in won:
            assert (await home.request("dict.get", {"id": identity}, [key])).attachments == [mine]
            assert (await home.request("dict.get", {"id": identity}, [b"token " + mine])).attachments == [mine]
        over.clear()
        del won[:-300]
        popper = asyncio.ensure_future(popping())
        await server.restart()
        over.set()
        await popper
        assert popped == won, "nothing that was popped is lost with the answer"
        await home.close()

    act(scene)
