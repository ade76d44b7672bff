"""A client's terminal goes to one container of its app at a time, and comes back."""
from __future__ import annotations

import asyncio
import contextlib

import fakes
import pytest

from windlass import exception, paths


class _Scene:
    """An app with ``count`` containers, each holding one input, and the SDK's own connection of each."""

    def __init__(self, platform, count: int) -> None:
        self.platform = platform
        self.count = count

    @contextlib.asynccontextmanager
    async def playing(self, **spec):
        platform = self.platform
        self.worker = await platform.worker(lambda args, kwargs, lease: NotImplemented)
        self.client = await platform.client()
        function = await self.client.app(**spec)
        self.call_id = await self.client.create(function, list(range(self.count)))
        while len(self.runners) < self.count or not all(r.seen for r in self.runners):
            await asyncio.sleep(0.01)
        self.sdks = [
            await fakes.connect(
                paths.containers_socket(platform.home), role="container", token=r.plan["token"],
                container_id=r.plan["container_id"],
            )
            for r in self.runners
        ]  # fmt: skip
        yield self

    @property
    def runners(self):
        return list(self.worker.runners.values())

    async def attach(self):
        stream = self.client.peer.stream("terminal.attach", {"app_id": self.client.app_id, "rows": 30, "cols": 90})
        assert (await stream.__anext__()).body == {"event": "attached"}
        self.lent = stream  # a stream that nobody holds is cancelled
        return stream

    def open(self, number: int):
        return self.sdks[number].stream("terminal.open", {"input_id": self.runners[number].seen[0]["input_id"]})


def test_keys_go_in_and_output_comes_out(play):
    async def scene(platform):
        async with _Scene(platform, 1).playing() as s:
            desk = await s.attach()
            opened = s.open(0)
            size = (await opened.__anext__()).body
            assert (size["rows"], size["cols"]) == (30, 90)
            event = (await desk.__anext__()).body
            assert event["event"] == "open" and event["container_id"] == s.runners[0].plan["container_id"]
            name = {"terminal_id": event["terminal_id"]}
            await s.sdks[0].request("terminal.output", name, [b"who? "])
            assert (await desk.__anext__()).attachments == [b"who? "]
            await s.client.peer.request("terminal.input", {**name, "rows": 5, "cols": 6}, [b"me\r"])
            item = await opened.__anext__()
            assert item.attachments == [b"me\r"] and item.body["rows"] == 5
            await opened.aclose()
            assert (await desk.__anext__()).body["event"] == "close"
            with pytest.raises(exception.NotFoundError):
                await s.client.peer.request("terminal.input", name, [b"late"])

    play(scene)


def test_the_second_container_waits_for_its_turn(play):
    async def scene(platform):
        async with _Scene(platform, 2).playing(single_use=True) as s:
            desk = await s.attach()
            first, second = s.open(0), s.open(1)
            await first.__anext__()
            await desk.__anext__()
            waiting = asyncio.ensure_future(second.__anext__())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await first.aclose()
            await waiting
            assert [(await desk.__anext__()).body["event"] for _ in range(2)] == ["close", "open"]

    play(scene)


def test_who_waits_too_long_is_told_so(play):
    async def scene(platform):
        async with _Scene(platform, 2).playing(single_use=True) as s:
            await s.attach()
            first = s.open(0)
            await first.__anext__()
            with pytest.raises(exception.InteractiveTimeoutError):
                await s.open(1).__anext__()
            assert len(platform.core.terminals.by_id) == 1

    play(scene, terminal_patience=0.1)


def test_without_a_client_that_lends_one_there_is_no_terminal(play):
    async def scene(platform):
        async with _Scene(platform, 1).playing() as s:
            with pytest.raises(exception.InvalidError, match="interactively") as refused:
                await s.open(0).__anext__()
            assert "run -i" in refused.value.hint

    play(scene)


def test_a_client_that_goes_away_takes_its_terminal_along(play):
    async def scene(platform):
        async with _Scene(platform, 1).playing() as s:
            desk = await s.attach()
            opened = s.open(0)
            await opened.__anext__()
            await desk.aclose()
            with pytest.raises(exception.ServiceError):
                await opened.__anext__()
            assert not platform.core.terminals.by_id and not platform.core.terminals.desks

    play(scene)


def test_somebody_at_the_terminal_is_not_hurried_by_the_servers_own_limit(play):
    async def scene(platform):
        async with _Scene(platform, 1).playing(timeout=1.0) as s:
            await s.attach()
            opened = s.open(0)
            await opened.__anext__()
            await asyncio.sleep(2.0)
            assert s.runners[0].stop_body is None and s.runners
            await opened.aclose()
            assert (await s.client.outputs(s.call_id))[0]["status"] == "timeout"

    play(scene, timeout_slack=0.1)


def test_a_container_cannot_write_to_the_terminal_of_another(play):
    async def scene(platform):
        async with _Scene(platform, 2).playing(single_use=True) as s:
            await s.attach()
            opened = s.open(0)
            name = {"terminal_id": (await opened.__anext__()).body["terminal_id"]}
            with pytest.raises(exception.PermissionDeniedError):
                await s.sdks[1].request("terminal.output", name, [b"spoof"])

    play(scene)


def test_the_caller_has_his_terminal_back_before_he_has_the_result(play):
    async def scene(platform):
        async with _Scene(platform, 2).playing(single_use=True) as s:
            desk = await s.attach()
            first, second = s.open(0), s.open(1)
            await first.__anext__()
            waiting = asyncio.ensure_future(second.__anext__())
            await asyncio.sleep(0.05)
            for runner in reversed(s.runners):  # neither gives the terminal back, nor ends its wait
                lease = runner.seen[0]
                output = {"input_id": lease["input_id"], "attempt": lease["attempt"], "status": "success", "seconds": 0}
                await runner.peer.request(
                    "runner.outputs", {"outputs": [{**output, "value": {"at": 0, "size": 1}}]}, [b"N"]
                )
            events = [(await asyncio.wait_for(desk.__anext__(), 10)).body["event"] for _ in range(2)]
            assert events == ["open", "close"]
            with pytest.raises(exception.ConflictError):
                await asyncio.wait_for(waiting, 10)
            assert not platform.core.terminals.by_id

    play(scene)
