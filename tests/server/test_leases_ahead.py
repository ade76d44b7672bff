"""Where nobody waits for an answer, runners hear of their leases before these are written (ADR 0030)."""
from __future__ import annotations

import asyncio

import fakes
import pytest
from test_containers_life import until

from windlass import exception, paths
from windlass.kit import ids
from windlass.wire import codec, peer


async def warm(platform, work):
    """A client, its function, and the one container that has served it."""
    worker = await platform.worker(work)
    client = await platform.client()
    function = await client.app(autoscaler={"min_containers": 1, "max_containers": 1, "buffer_containers": 0,
                                            "scaledown_window": 60.0})  # fmt: skip
    assert [output["data"] for output in await client.run(function, [0])] == [0]
    return worker, client, function, platform.core.world.functions[function].containers


def listen(container, said) -> None:
    """``said`` is called before each lease leaves."""
    notify = container.peer.notify

    def listening(method, *more):
        if method == "runner.lease":
            said()
        notify(method, *more)

    container.peer.notify = listening


class Told(list):
    """What a runner hears, in its order."""

    def item(self, reply: peer.Reply) -> None:
        """A request has but one answer."""

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        self.append("drop" if reply.body["drop"] else "nothing")


async def comes_back(runner: fakes.Runner) -> list[str]:
    """A runner connects again with what it holds; the first two things that it hears."""
    told = Told()

    def serve(incoming: peer.Incoming) -> None:
        told.append(incoming.method.partition(".")[2])
        runner._serve(incoming)

    runner.peer = await fakes.connect(
        paths.containers_socket(runner.home), serve, role="runner", token=runner.plan["token"],
        container_id=runner.plan["container_id"],
    )  # fmt: skip
    held = [{"input_id": identity, "attempt": attempt} for identity, attempt in runner.held.items()]
    runner.peer.begin(codec.REQUEST, "runner.ready", {"held": held}, (), told)
    await until(lambda: len(told) == 2)
    return list(told)


def test_a_lease_leaves_before_it_is_written_only_where_nobody_is_told_of_it(play):
    async def scene(platform):
        _, client, function, containers = await warm(platform, lambda args, kwargs, lease: args[0])
        (container,) = containers.values()
        open_then: list[bool] = []
        listen(container, lambda: open_then.append(platform.core.db.in_transaction))
        assert [output["data"] for output in await client.run(function, [1])] == [1]
        call = await client.create(function, [2])
        assert [output["data"] for output in await client.outputs(call)] == [2]
        assert open_then == [True, False]

    play(scene)


def test_a_lease_that_left_and_was_never_written_is_taken_back_and_the_call_ends_once(play, monkeypatch):
    async def scene(platform):
        gate = asyncio.Event()

        async def work(args, kwargs, lease):
            ran.append((lease["input_id"], lease["attempt"]))
            await gate.wait()
            return args[0]

        ran: list[tuple[str, int]] = []
        gate.set()
        worker, client, function, containers = await warm(platform, work)
        gate.clear()
        (container,) = containers.values()
        lent: list[bool] = []
        listen(container, lambda: lent.append(True))
        commit = platform.core.db.commit

        def failing() -> None:
            if lent:
                lent.clear()
                raise exception.ResourceExhaustedError("the disk is full")
            commit()

        monkeypatch.setattr(platform.core.db, "commit", failing)
        call_id = ids.new("fc")
        with pytest.raises(exception.ServiceError):
            await client.run(function, [7], call_id=call_id)
        (runner,) = worker.runners.values()
        await until(lambda: len(ran) == 2)  # it began all the same, and holds what no row knows
        await until(lambda: not runner.connected)
        assert platform.core.db.one("SELECT count(*) FROM input")[0] == 1
        client = await type(client)(platform.home).start()
        again = asyncio.ensure_future(client.run(function, [7], call_id=call_id))
        await until(lambda: platform.core.world.functions[function].ready)
        heard = await comes_back(runner)
        assert heard == ["drop", "lease"]  # the other way round it would drop what it was just given
        await until(lambda: len(ran) == 3)
        gate.set()
        assert [output["data"] for output in await again] == [7]
        assert ran[1] == ran[2]
        assert platform.core.db.one("SELECT count(*) FROM output")[0] == 2

    play(scene)
