"""What containers and clients made by hand send must harm nobody else."""
from __future__ import annotations

import asyncio
import contextlib
import struct

import fakes
import pytest

from windlass import exception, paths
from windlass.kit import ids
from windlass.server.api import door
from windlass.wire import codec

ODD = "ab\ud800c"


@pytest.mark.parametrize("output", [
    {}, {"attempt": 1, "status": "success"}, {"input_id": "in-0", "attempt": 1, "status": "item"},
    {"input_id": "in-0", "attempt": 2**63, "status": "success"},
    {"input_id": "in-0", "attempt": 10**30, "status": "success"},
])  # fmt: skip
def test_a_container_that_sends_nonsense_disturbs_no_other(play, output):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        await client.run(function, [1])
        (runner,) = worker.runners.values()
        with pytest.raises(exception.InvalidError):
            await runner.peer.request("runner.outputs", {"outputs": [output]})
        (answer,) = await client.run(function, [2])
        assert answer["data"] == 2 and client.peer.connected and worker.peer.connected

    play(scene)


def test_half_characters_and_numbers_that_are_none_end_no_connection(play):
    async def scene(platform):
        client = await platform.client()
        app_id = ids.new("ap")
        await client.peer.request("app.create", {"app_id": app_id, "description": ODD, "state": "ephemeral"})
        reply = await client.peer.request("app.get", {"app": app_id})
        assert reply.body["description"] == "ab?c"
        with pytest.raises(exception.InvalidError):
            await client.peer.request("function.autoscaler", {"function_id": "fu", "scaledown_window": float("nan")})
        with pytest.raises(exception.InvalidError):
            await client.peer.request("blob.get", {"digest": "sha256:" + "0" * 64, "offset": -1})

    play(scene)


def _frame(head: bytes, tail: bytes = b"") -> bytes:
    return struct.pack(">II", len(head), len(tail)) + head + tail


@pytest.mark.parametrize("data", [
    b"\xff" * 8, _frame(b""), _frame(b"[]"), _frame(b'{"k":"q","i":1,"a":5}', b"abc"),
    _frame(b'{"k":"q","i":1,"a":["x"]}', b"abc"), _frame(b'{"k":"q","i":1,"m":"hello","a":[-3,6]}', b"abc"),
    _frame(b'{"k":"c","i":{}}'), _frame(b'{"k":"r","i":[]}'), _frame(b'{"k":"q","i":1,"b":' + b"[" * 200_000),
])  # fmt: skip
def test_what_is_no_frame_is_malformed(data):
    with pytest.raises(exception.InvalidError, match="malformed"):
        codec.Decoder(door.decode).feed(data)


def test_before_hello_nobody_makes_the_server_hold_much(play):
    async def scene(platform):
        reader, writer = await asyncio.open_unix_connection(str(paths.containers_socket(platform.home)))
        writer.write(struct.pack(">II", 1000, 60 * 1024 * 1024) + b"x" * 300_000)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    play(scene)


def test_too_many_who_say_nothing_push_out_each_other_but_nobody_else(play, monkeypatch):
    monkeypatch.setattr(door, "_GUESTS", 5)

    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        path = str(paths.containers_socket(platform.home))
        silent = [await asyncio.open_unix_connection(path) for _ in range(20)]
        (answer,) = await client.run(function, [2])
        assert answer["data"] == 2
        gone = [await asyncio.wait_for(reader.read(), 5) for reader, _ in silent[:15]]
        assert gone == [b""] * 15
        for _, writer in silent:
            writer.close()

    play(scene)


def test_what_is_not_for_containers_says_where_to_do_it(play):
    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        await client.run(function, [1])
        (runner,) = worker.runners.values()
        who = {"role": "container", "container_id": runner.plan["container_id"], "token": runner.plan["token"]}
        inside = await fakes.connect(paths.containers_socket(platform.home), **who)
        with pytest.raises(exception.PermissionDeniedError, match="may not use") as refused:
            await inside.request("image.publish", {"image_id": "im-1", "name": "n", "tag": "t", "environment": "main"})
        assert "outside of containers" in refused.value.hint
        inside.close()

    play(scene)


def test_one_container_cannot_take_all_connections(play, monkeypatch):
    monkeypatch.setattr(door, "_MEMBERS", 3)

    async def scene(platform):
        worker = await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        await client.run(function, [1])
        (runner,) = worker.runners.values()
        path = paths.containers_socket(platform.home)
        who = {"role": "container", "container_id": runner.plan["container_id"], "token": runner.plan["token"]}
        others = [await fakes.connect(path, **who) for _ in range(2)]
        with pytest.raises(exception.ResourceExhaustedError):
            await fakes.connect(path, **who)
        for other in others:
            other.close()
        await asyncio.sleep(0.05)
        (await fakes.connect(path, **who)).close()

    play(scene)
