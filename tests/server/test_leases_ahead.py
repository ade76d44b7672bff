"""Where nobody waits for an answer, runners hear of their leases before these are written (ADR 0030), and rows of calls
that end at once are written with their end (ADR 0029)."""
from __future__ import annotations

import asyncio

import fakes
import pytest
from test_containers_life import until

from windlass import exception, paths
from windlass.kit import ids
from windlass.server.apply import turn
from windlass.server.loops import pulse
from windlass.server.state import moves, work
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
        calls, inputs = "SELECT count(*) FROM call", "SELECT count(*) FROM input"
        written: list[tuple[int, int]] = []
        listen(container, lambda: written.append((*platform.core.db.one(calls), *platform.core.db.one(inputs))))
        assert [output["data"] for output in await client.run(function, [1])] == [1]
        call = await client.create(function, [2])
        assert [output["data"] for output in await client.outputs(call)] == [2]
        assert written == [(1, 1), (3, 3)]

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


def statements(monkeypatch, db) -> list[str]:
    """The first words of what changes rows, from now on."""
    seen: list[str] = []
    for name in ("run", "many"):
        old = getattr(db, name)

        def noted(text, *more, old=old):
            if not text.startswith("SELECT"):
                seen.append(" ".join(text.replace("OR IGNORE ", "").split()[:3]))
            return old(text, *more)

        monkeypatch.setattr(db, name, noted)
    return seen


def row(platform, what: str) -> tuple:
    return platform.core.db.one(what)


def waits_long(monkeypatch) -> None:
    """Nothing is written because time has passed."""
    monkeypatch.setattr(turn, "_PATIENCE", 60.0)


def test_a_call_that_ends_at_once_is_written_once_and_with_its_end(play, monkeypatch):
    async def scene(platform):
        _, client, function, _ = await warm(platform, lambda args, kwargs, lease: args[0])
        waits_long(monkeypatch)
        seen = statements(monkeypatch, platform.core.db)
        assert [output["data"] for output in await client.run(function, ["x" * 5000])] == ["x" * 5000]
        for noun in ("call", "input", "output"):
            assert [text for text in seen if text.split()[-1] == noun] == [f"INSERT INTO {noun}"]
        assert "UPDATE input SET" not in seen and "UPDATE call SET" not in seen
        state = "SELECT state, status, seq, payload, attempt, container FROM input ORDER BY key DESC LIMIT 1"
        assert row(platform, state) == (moves.InputState.DONE, moves.Status.SUCCESS, 1, None, 1, 1)
        assert row(platform, "SELECT count(*) FROM large") == (0,)
        ended = "SELECT closed, cancelled, done_at >= created_at, num_inputs FROM call ORDER BY n DESC LIMIT 1"
        assert row(platform, ended) == (1, 0, 1, 1)

    play(scene)


def test_a_call_that_goes_on_is_written_soon_although_nothing_else_happens(play):
    async def scene(platform):
        answers = [0]
        _, client, function, _ = await warm(platform, lambda *_: answers.pop() if answers else NotImplemented)
        running = asyncio.ensure_future(client.run(function, [1]))
        state = "SELECT state, attempt, payload IS NOT NULL FROM input ORDER BY key DESC LIMIT 1"
        await until(lambda: row(platform, state) == (moves.InputState.LEASED, 1, 1))
        assert not platform.core.turn.is_open and not running.done()
        running.cancel()

    play(scene)


def test_whoever_asks_while_rows_wait_is_answered_at_once_and_finds_them(play, monkeypatch):
    async def scene(platform):
        answers = [0]
        _, client, function, containers = await warm(platform, lambda *_: answers.pop() if answers else NotImplemented)
        waits_long(monkeypatch)
        (container,) = containers.values()
        call_id = ids.new("fc")
        running = asyncio.ensure_future(client.run(function, [1], call_id=call_id))
        await until(lambda: container.held and platform.core.turn.is_open)
        other = await platform.client()
        assert (await asyncio.wait_for(other.request("call.get", call_id=call_id), 5))["num_inputs"] == 1
        assert not platform.core.turn.is_open
        running.cancel()

    play(scene)


def test_what_fails_or_is_given_back_before_its_row_is_there_keeps_its_counts_and_its_payload(play, monkeypatch):
    async def scene(platform):
        text, seen = "y" * (work.LARGE + 1), []

        def fails_once(args, kwargs, lease):
            seen.append(args[0])
            if len(seen) == 2:
                raise ValueError("once")
            return NotImplemented if len(seen) == 4 else args[0]

        worker, client, function, containers = await warm(platform, fails_once)
        waits_long(monkeypatch)
        platform.core.world.functions[function].spec["retries"] = {
            "max_retries": 1, "initial_delay": 1.0, "backoff_coefficient": 1.0, "max_delay": 1.0,
        }  # fmt: skip
        failing = asyncio.ensure_future(client.run(function, [text]))
        state = "SELECT state, retries, not_before > 0 FROM input ORDER BY key DESC LIMIT 1"
        await until(lambda: len(seen) == 2 and row(platform, state) == (moves.InputState.DELAYED, 1, 1))
        assert [output["data"] for output in await failing] == [text]
        (container,), (runner,) = containers.values(), worker.runners.values()
        given_back = asyncio.ensure_future(client.run(function, [text]))
        await until(lambda: len(seen) == 4 and container.held)
        held = [{"input_id": item.id, "attempt": item.attempt} for item in container.held.values()]
        await runner.peer.request("runner.release", {"inputs": held})
        assert [output["data"] for output in await given_back] == [text]

    play(scene)


def test_an_id_that_was_new_a_moment_ago_is_looked_up_again_when_calls_were_made_since(play):
    async def scene(platform):
        _, client, function, _ = await warm(platform, lambda args, kwargs, lease: args[0])
        made = await client.request("token.create", token_id=ids.new("ak"), name="mia", role="member")
        mia = fakes.Client(platform.home)
        mia.peer = await fakes.connect(
            paths.server_socket(platform.home), role="user", client_id=mia.client_id, token_id=made["token_id"],
            token_secret=made["secret"],
        )  # fmt: skip
        first = ids.new("fc")
        with pytest.raises(exception.NotFoundError):
            await mia.request("call.get", call_id=first)
        twin = first[:-3] + ("abc" if first[-3:] != "abc" else "xyz")
        assert [output["data"] for output in await client.run(function, [1], call_id=twin)] == [1]
        with pytest.raises(exception.AlreadyExistsError):
            await client.run(function, [2], call_id=first)
        with pytest.raises(exception.AlreadyExistsError):
            await mia.run(function, [2], call_id=first)
        assert [output["data"] for output in await mia.run(function, [3])] == [3]

    play(scene)


def test_a_runner_with_nothing_to_do_is_not_woken_to_hear_that_its_result_is_safe(play, monkeypatch):
    monkeypatch.setattr(pulse, "_EVERY", 60.0)

    async def scene(platform):
        worker, client, function, containers = await warm(platform, lambda args, kwargs, lease: args[0])
        (runner,), (container,) = worker.runners.values(), containers.values()
        for x in (1, 2):
            assert [output["data"] for output in await client.run(function, [x])] == [x]
            assert not container.held and len(runner.held) == 1
        await client.request("call.create", call_id=ids.new("fc"), function_id=function, inputs=[])
        await until(lambda: not runner.held)  # the server had to say something anyway

    play(scene)


def test_it_hears_so_soon_all_the_same_and_at_once_when_it_shall_end(play, monkeypatch):
    async def scene(platform):
        worker, client, function, containers = await warm(platform, lambda args, kwargs, lease: args[0])
        (runner,), (container,) = worker.runners.values(), containers.values()
        await until(lambda: not runner.held)
        monkeypatch.setattr(pulse, "_EVERY", 60.0)
        gate = asyncio.Event()

        async def work(args, kwargs, lease):
            await gate.wait()
            return args[0]

        runner.work, runner.stopped = work, asyncio.Event()  # of the latter nobody knows: it stays when asked to end
        running = asyncio.ensure_future(client.run(function, [3]))
        await until(lambda: container.held)
        await client.request("container.stop", container_id=container.id, graceful=True)
        gate.set()
        assert [output["data"] for output in await running] == [3]
        await until(lambda: not runner.held)

    play(scene)
