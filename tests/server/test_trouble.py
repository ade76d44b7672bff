"""A full disk, a turn that fails, large values, old data."""
from __future__ import annotations

import asyncio
import pickle

import pytest
from test_containers_life import LIMIT_ONE, keep, until

from windlass import exception
from windlass.kit import ids


def test_a_full_disk_is_a_typed_error_and_nothing_acknowledged_is_lost(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app()
        kept = await client.create(function, [1])
        pages = platform.core.db.one("PRAGMA page_count")[0]
        platform.core.db.run(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(exception.ResourceExhaustedError, match="full"):
            await client.create(function, ["x" * 3000] * 500)
        platform.core.db.run("PRAGMA max_page_count = 1000000")
        client = await platform.client()
        await platform.worker(lambda args, kwargs, lease: args[0])
        (output,) = await client.outputs(kept)
        assert output["data"] == 1
        assert len(await client.run(function, [1, 2], kind="map")) == 2

    play(scene)


def test_when_the_disk_is_nearly_full_new_work_is_refused_before_it_is_too_late(play, monkeypatch):
    from windlass.server.apply import disk

    async def scene(platform):
        client = await platform.client()
        function = await client.app()
        monkeypatch.setattr(disk, "_LOW", 1 << 60)
        await asyncio.sleep(0.2)
        with pytest.raises(exception.ResourceExhaustedError, match="disk of the server is full"):
            await client.create(function, [1])
        monkeypatch.undo()
        await client.create(function, [1])  # there is room: whether the reaper has looked or not
        assert platform.core.low_disk == ""

    play(scene)


def test_a_defect_in_a_handler_takes_back_its_turn_and_the_server_goes_on(play, monkeypatch):
    from windlass.server.apply import calls

    async def scene(platform):
        client = await platform.client()
        function = await client.app()
        monkeypatch.setattr(calls, "_add", lambda *a, **k: 1 / 0)
        with pytest.raises(exception.InternalError, match="ZeroDivision"):
            await client.create(function, [1])
        monkeypatch.undo()
        await until(lambda: not client.peer.connected)
        client = await platform.client()
        await platform.worker(lambda args, kwargs, lease: args[0])
        assert [o["data"] for o in await client.run(function, [1])] == [1]
        assert platform.core.db.one("SELECT count(*) FROM call")[0] == 1

    play(scene)


def test_large_payloads_wait_on_disk_and_arrive_whole(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app(autoscaler=LIMIT_ONE)
        values = [bytes([n]) * 100_000 for n in range(40)]
        call_id = await client.create(function, values, kind="map")
        queued = platform.core.world.functions[function].ready
        assert queued and all(item.data.inline is None for item in queued)
        await platform.worker(lambda args, kwargs, lease: args[0])
        outputs = await client.outputs(call_id)
        assert sorted(o["data"] for o in outputs) == values
        assert platform.core.db.one("SELECT count(*) FROM large")[0] == 0

    play(scene)


def test_a_value_too_large_for_a_message_travels_as_a_blob_and_is_forgotten_with_its_call(play):
    import hashlib

    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        function = await client.app()
        data = pickle.dumps((("x" * 3_000_000,), {}))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        chunk = 1 << 20
        for offset in range(0, len(data), chunk):
            part = data[offset : offset + chunk]
            body = {"upload_id": "u", "digest": digest, "offset": offset, "last": offset + chunk >= len(data)}
            await client.peer.request("blob.put", body, [part])
        assert platform.core.blobs.has(digest)
        items = [{"index": 0, "payload": {"blob": digest, "size": len(data)}}]
        call_id = ids.new("fc")
        await client.request(
            "call.create", call_id=call_id, function_id=function, kind="map", inputs=items, closed=True
        )
        got = b""
        async for item in client.peer.stream("blob.get", {"digest": digest, "offset": 5}):
            got += item.attachments[0]
        assert got == data[5:]
        await client.request("call.cancel", call_id=call_id, terminate_containers=True)
        await until(lambda: platform.core.db.one("SELECT count(*) FROM call")[0] == 0)
        assert (await client.request("blob.missing", digests=[digest]))["missing"] == [digest]

    play(scene, keep_sync=0.0)


def test_a_corrupted_upload_is_refused_and_leaves_nothing(play):
    async def scene(platform):
        client = await platform.client()
        body = {"upload_id": "u", "digest": "sha256:" + "0" * 64, "offset": 0, "last": True}
        with pytest.raises(exception.DataLossError):
            await client.peer.request("blob.put", body, [b"other"])
        assert list((platform.home / "blobs" / "incoming").iterdir()) == []

    play(scene)


def test_malformed_requests_are_refused_with_what_is_wrong(play):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.InvalidError, match="function_id is missing"):
            await client.request("call.create", call_id=ids.new("fc"))
        with pytest.raises(exception.InvalidError, match="Expected `str`"):
            await client.request("call.get", call_id=5)
        with pytest.raises(exception.UnimplementedError):
            await client.request("call.dance")
        with pytest.raises(exception.PermissionDeniedError):
            await client.request("worker.report", containers=[], whole=True)

    play(scene)


def test_a_generator_waits_for_a_consumer_that_is_far_behind(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        function = await client.app(is_generator=True)
        call_id = await client.create(function, [1], kind="gen")
        await until(lambda: any(r.held for r in worker.runners.values()))
        (runner,) = worker.runners.values()
        ((input_id, attempt),) = runner.held.items()
        data = pickle.dumps(0)

        def items(first, count):
            value = {"at": 0, "size": len(data)}
            base = {"input_id": input_id, "attempt": attempt, "status": "item", "value": value}
            return {"outputs": [{**base, "item": first + n} for n in range(count)]}

        await runner.peer.request("runner.outputs", items(0, 1000), [data])
        ahead = asyncio.ensure_future(runner.peer.request("runner.outputs", items(1000, 100), [data]))
        await asyncio.sleep(0.1)
        assert not ahead.done()
        reading = asyncio.ensure_future(client.outputs(call_id))
        await asyncio.wait_for(ahead, 5)
        end = {"input_id": input_id, "attempt": attempt, "status": "success", "items": 1100}
        await runner.peer.request("runner.outputs", {"outputs": [end]})
        assert len(await reading) == 1101

    play(scene)


def test_an_old_result_is_expired_and_not_unknown(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: None)
        client = await platform.client()
        function = await client.app()
        call_id = await client.create(function, [1])
        await client.outputs(call_id)
        await until(lambda: platform.core.db.one("SELECT count(*) FROM call")[0] == 0)
        with pytest.raises(exception.OutputExpiredError):
            await client.outputs(call_id)
        with pytest.raises(exception.NotFoundError):
            await client.outputs(ids.new("fc"))

    play(scene, keep_spawn=0.0)


def test_a_request_that_is_refused_leaves_no_half_of_itself(play):
    async def scene(platform):
        client = await platform.client()
        function = await client.app()
        with pytest.raises(exception.ResourceExhaustedError, match="at most 10"):
            await client.create(function, list(range(11)), kind="map")
        call_id = ids.new("fc")
        items = [{"index": 0, "payload": {"at": 0, "size": 1}}, {"index": 1, "payload": {"at": 7, "size": 1}}]
        body = {"call_id": call_id, "function_id": function, "kind": "map", "inputs": items, "closed": True}
        with pytest.raises(exception.InvalidError, match="no attachment"):
            await client.peer.request("call.create", body, [b"x"])
        with pytest.raises(exception.NotFoundError):
            await client.request("call.get", call_id=call_id)
        assert platform.core.db.one("SELECT count(*) FROM call") == (0,)
        call_id = await client.create(function, [1])
        with pytest.raises(exception.ConflictError, match="no more inputs"):
            await client.create(function, [1, 2], call_id=call_id)

    play(scene, sync_waiting=10)


def test_inputs_may_arrive_in_any_order(play):
    async def scene(platform):
        await platform.worker(lambda args, kwargs, lease: args[0])
        client = await platform.client()
        function = await client.app()
        call_id = await client.create(function, [], kind="map", closed=False)
        for first, closed in ((3, False), (0, False), (3, False), (6, True)):
            items, data = client.inputs([first, first + 1, first + 2], first=first)
            body = {"call_id": call_id, "inputs": items, "closed": closed}
            await client.peer.request("call.put", body, data)
        outputs = await client.outputs(call_id)
        assert sorted(o["data"] for o in outputs) == list(range(9))

    play(scene)
