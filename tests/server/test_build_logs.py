"""Output of build steps: told to all who wait, kept within bounds, readable later whatever became of the build."""
from __future__ import annotations

import asyncio

import pytest

from windlass import exception
from windlass.server.apply import build_logs
from windlass.server.loops import garbage

BASE = {"op": "base", "base": "debian_slim", "python": "3.11"}
STEP = {"op": "run", "commands": ["true"]}


def keep(args, kwargs, lease):
    return NotImplemented


async def build(client, *recipes, app_id=None, **more):
    events = []
    async for item in client.peer.stream("image.build", {"recipes": list(recipes), "app_id": app_id, **more}):
        events.append(item.body)
    return events


async def read(client, image_id, **query):
    """The layers of ``image.logs``, each with its text."""
    layers = []
    async for item in client.peer.stream("image.logs", {"image_id": image_id, **query}):
        event = item.body
        kind = event.pop("kind")
        if kind == "layer":
            layers.append({**event, "text": ""})
        elif kind == "log":
            layers[-1]["text"] += event["text"]
        else:
            layers[-1].update(event)
    return layers


async def when(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


def test_the_log_of_each_layer_can_be_read_when_the_image_is_built(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        image_id = (await build(client, BASE, STEP))[-1]["image_id"]
        base, step = await read(client, image_id)
        assert base["command"] == "debian_slim python 3.11" and step["command"] == "true"
        assert base["text"] == step["text"] == "making it\n" and step["image_id"] == image_id
        assert base["step"] == 1 and step["steps"] == 2
        assert step["error"] is None and step["started_at"] <= step["ended_at"]
        for layer in (image_id, "2", "-1"):
            assert [one["image_id"] for one in await read(client, image_id, layer=layer)] == [image_id]
        for wrong in ("3", "-3", "0", "im-0000000000000000000000"):
            with pytest.raises(exception.NotFoundError):
                await read(client, image_id, layer=wrong)
        with pytest.raises(exception.NotFoundError):
            await read(client, "im-0000000000000000000000")

    play(scene)


def test_a_failed_build_leaves_its_log_and_no_image(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        base = (await build(client, BASE))[-1]["image_id"]
        worker.build_error, worker.build_texts = "exit code 3", ["first\n", "last words\n"]
        with pytest.raises(exception.ImageBuildError, match=r"(?s)exit code 3.*last words") as caught:
            await build(client, BASE, STEP)
        image_id = next(word for word in str(caught.value).split() if word.startswith("im-"))
        assert f"`windlass image logs {image_id}`" in caught.value.hint
        layers = await read(client, image_id)
        assert [one["image_id"] for one in layers] == [base, image_id]
        assert layers[1]["text"] == "first\nlast words\n" and layers[1]["error"] == "exit code 3"
        with pytest.raises(exception.NotFoundError):
            await client.request("image.info", image_id=image_id)
        worker.build_error, worker.build_texts = None, ["better\n"]
        assert (await build(client, BASE, STEP))[-1]["image_id"] == image_id
        assert (await read(client, image_id))[1]["text"] == "better\n"
        assert (await read(client, image_id))[1]["error"] is None

    play(scene)


def test_everybody_who_waits_hears_everything_in_order_also_who_comes_late(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        clients = [await platform.client() for _ in range(3)]
        worker.build_gate = asyncio.Event()
        worker.build_texts = [f"line {i}\n" for i in range(200)]
        building = [asyncio.ensure_future(build(client, BASE)) for client in clients[:2]]
        await when(lambda: len(worker.plans) == 1 and platform.core.counters.build_log > 200)
        late = asyncio.ensure_future(build(clients[2], BASE))
        (waiting,) = platform.core.world.builds.values()
        await when(lambda: len(waiting.waiters) == 3)
        following = asyncio.ensure_future(read(clients[0], waiting.image_id, follow=True))
        (now,) = await read(clients[0], waiting.image_id)
        assert now["ended_at"] is None and now["text"] == "".join(worker.build_texts)
        await asyncio.sleep(0)
        worker.build_gate.set()
        for events in [*(await asyncio.gather(*building)), await late]:
            assert "".join(e["text"] for e in events if e["kind"] == "log") == "".join(worker.build_texts)
            assert events[-1]["kind"] == "done"
        (followed,) = await following
        assert followed["text"] == "".join(worker.build_texts) and followed["ended_at"] is not None
        assert len(worker.plans) == 1 and not platform.core.build_readers

    play(scene)


def test_of_a_flood_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(play, monkeypatch):
    monkeypatch.setattr(build_logs, "_END", 100_000)
    chunk = "".join(f"{i:09}\n" for i in range(20_000))

    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        worker.build_texts = ["BEGIN\n", *[chunk] * 5, "END\n"]
        image_id = (await build(client, BASE))[-1]["image_id"]
        (layer,) = await read(client, image_id)
        text, left_out = layer["text"], layer["left_out"]
        assert text.startswith("BEGIN\n000000000\n") and text.endswith("000019999\nEND\n")
        note = f"\n[{left_out:,} bytes of output are not kept]\n"
        assert note in text and len(text) - len(note) + left_out == len(chunk) * 5 + 10
        assert len(text) < 270_000
        db = platform.core.db
        assert db.one("SELECT sum(length(text)) FROM image_log")[0] == len(text), "nothing else is stored"

    play(scene)


def test_what_is_no_text_is_stored_all_the_same(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        worker.build_texts = ["\udcff half\n", "\0zero\n"]
        image_id = (await build(client, BASE))[-1]["image_id"]
        (layer,) = await read(client, image_id)
        assert layer["text"] == "? half\n\0zero\n"

    play(scene)


def test_a_build_that_nobody_waits_for_is_given_up_and_says_so(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client, other = await platform.client(), await platform.client()
        worker.build_gate = asyncio.Event()
        asyncio.ensure_future(build(client, BASE)).add_done_callback(lambda task: task.exception())
        await when(lambda: len(worker.plans) == 1)
        (waiting,) = platform.core.world.builds.values()
        client.peer.close()
        await when(lambda: not platform.core.world.builds)
        (layer,) = await read(other, waiting.image_id, follow=True)
        assert "given up" in layer["error"]
        worker.build_gate.set()

    play(scene)


def test_a_build_that_the_server_did_not_survive_is_marked_and_built_by_who_asks_again(play, home):
    async def scene(platform):
        worker = await platform.worker(keep)
        client = await platform.client()
        worker.build_gate = asyncio.Event()
        asyncio.ensure_future(build(client, BASE)).add_done_callback(lambda task: task.exception())
        await when(lambda: platform.core.counters.build_log > 1)
        (waiting,) = platform.core.world.builds.values()
        platform.core.turn.begin()
        platform.core.turn.abandon(RuntimeError("as after a restart: memory is read from rows"))
        await asyncio.sleep(0.05)
        assert not platform.core.world.builds
        worker, client = await platform.worker(keep), await platform.client()
        (layer,) = await read(client, waiting.image_id)
        assert "restarted" in layer["error"] and layer["text"] == "making it\n"
        assert (await build(client, BASE))[-1]["image_id"] == waiting.image_id
        (layer,) = await read(client, waiting.image_id)
        assert layer["error"] is None

    play(scene)


def test_old_logs_are_forgotten_and_the_image_stays(play):
    async def scene(platform):
        await platform.worker(keep)
        client = await platform.client()
        image_id = (await build(client, BASE))[-1]["image_id"]
        garbage.rarely(platform.core)
        assert (await read(client, image_id))[0]["text"]
        platform.core.settings = type("S", (), {**vars(platform.core.settings), "keep_logs": -1.0})
        garbage.rarely(platform.core)
        platform.core.turn.end()
        (layer,) = await read(client, image_id)
        assert layer["text"] == "" and layer["started_at"] is None and layer["command"] == "debian_slim python 3.11"
        assert (await client.request("image.get", image_id=image_id))["image_id"] == image_id

    play(scene)


def test_one_who_does_not_keep_up_costs_a_bounded_buffer_and_gets_what_is_kept(play):
    chunk = "".join(f"{i:09}\n" for i in range(20_000))

    async def scene(platform):
        worker = await platform.worker(keep)
        client, slow = await platform.client(), await platform.client()
        worker.build_texts, worker.build_gate = [chunk] * 60, asyncio.Event()
        building = asyncio.ensure_future(build(client, BASE))
        await when(lambda: platform.core.world.builds)
        slowly = asyncio.ensure_future(build(slow, BASE))
        (waiting,) = platform.core.world.builds.values()
        await when(lambda: len(waiting.waiters) == 2)
        slow.peer._transport.pause_reading()
        largest = 0

        def all_has_come():
            nonlocal largest
            for waiter in waiting.waiters:
                largest = max(largest, waiter.incoming.peer._transport.get_write_buffer_size())
            return platform.core.counters.build_log > 60 * 7

        await when(all_has_come)
        assert largest < 3 << 20, "its connection holds no more than it is allowed to"
        worker.build_gate.set()
        events = await building
        assert "".join(event["text"] for event in events if event["kind"] == "log") == chunk * 60
        slow.peer._transport.resume_reading()
        text = "".join(event["text"] for event in await slowly if event["kind"] == "log")
        assert text.startswith(chunk) and text.endswith(chunk) and "faster than it could be sent" in text
        assert len(text) < 8 << 20, "what is kept, and what connection and sockets hold"

    play(scene)
