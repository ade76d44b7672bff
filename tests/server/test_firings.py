"""Scheduled functions in a real server whose clock the test moves: each time is run once, whatever happens."""
from __future__ import annotations

import asyncio
import contextlib

import pytest
from test_containers_life import until

from windlass import exception
from windlass.kit import ids
from windlass.server import compose

ONE, OTHER = ids.new("fu"), ids.new("fu")
HOURLY = {"schedule": {"period": {"hours": 1}}}
DAILY = {"schedule": {"cron": "0 6 * * *", "timezone": "UTC"}}
HOUR, DAY = 3600.0, 86400.0
BEGIN = 20000 * DAY  # midnight


class Hands:
    """A clock that stands still until it is moved. Only pauses are real, and short."""

    def __init__(self) -> None:
        self.time = BEGIN

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def follow(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def act(play, monkeypatch, hands):
    """``play`` by the clock ``hands``."""
    server = compose.server
    monkeypatch.setattr(compose, "server", lambda settings: server(settings, hands))
    quiet = {"app_silence": 1e12, "beat": 1e12, "reconnect": 1e12, "timeout_slack": 1e12, "tick": 0.02}
    return lambda scene, **changes: play(scene, **{**quiet, **changes})


class Ran:
    """A worker whose runners note each input."""

    def __init__(self) -> None:
        self.inputs: list[tuple] = []
        self.hold = False

    def __call__(self, args, kwargs, lease):
        self.inputs.append((args, kwargs))
        return NotImplemented if self.hold else None


async def schedules(client, app) -> dict[str, dict]:
    found = (await client.request("schedule.list", app_id=app))["schedules"]
    return {one["tag"]: one for one in found}


async def quiet(platform) -> None:
    """Long enough for the loop to have looked several times."""
    for _ in range(5):
        await asyncio.sleep(0.02)


def test_a_deployed_function_runs_when_its_time_comes_and_only_then(act, hands):
    ran = Ran()

    async def scene(platform):
        await platform.worker(ran)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY), g=(OTHER, DAILY))
        hands.time += HOUR - 1
        await quiet(platform)
        assert ran.inputs == []
        hands.time += 1
        await until(lambda: ran.inputs == [((), {})])
        hands.time += HOUR
        await until(lambda: len(ran.inputs) == 2)
        listed = await schedules(client, app)
        assert listed["f"]["next_at"] == BEGIN + 3 * HOUR and listed["f"]["fired_at"] == BEGIN + 2 * HOUR
        assert (listed["g"]["next_at"], listed["g"]["fired_at"]) == (BEGIN + 6 * HOUR, None)
        status = await client.request("call.get", call_id=listed["f"]["call_id"])
        assert status["status"] == "success" and status["num_inputs"] == 1

    act(scene)


def test_after_an_outage_each_function_runs_once(act, hands):
    ran = Ran()

    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY), g=(OTHER, DAILY))
        await platform.stop()
        hands.time += 10 * DAY + 1.5 * HOUR
        platform.stack = contextlib.AsyncExitStack()
        await platform.start()
        await platform.worker(ran)
        await until(lambda: len(ran.inputs) == 2)
        await quiet(platform)
        assert len(ran.inputs) == 2
        listed = await schedules(await platform.client(), app)
        # Both keep their beat.
        assert listed["f"]["next_at"] == BEGIN + 10 * DAY + 2 * HOUR
        assert listed["g"]["next_at"] == BEGIN + 10 * DAY + 6 * HOUR

    act(scene)


def test_a_run_does_not_wait_for_the_one_before(act, hands):
    ran = Ran()
    ran.hold = True

    async def scene(platform):
        await platform.worker(ran)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY))
        for number in (1, 2, 3):
            hands.time += HOUR
            await until(lambda number=number: len(ran.inputs) == number)
        stats = await client.request("function.stats", function_id=ONE)
        assert stats["num_running_inputs"] == 3

    act(scene)


def test_a_new_version_resets_periods_and_not_cron(act, hands):
    ran = Ran()

    async def scene(platform):
        await platform.worker(ran)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY), g=(OTHER, {"schedule": {**DAILY["schedule"]}}))
        hands.time += HOUR / 2
        new = {"qualname": "new"}
        await client.deploy(app, f=(ONE, {**HOURLY, **new}), g=(OTHER, {**DAILY, **new}))
        listed = await schedules(client, app)
        assert listed["f"]["next_at"] == BEGIN + 1.5 * HOUR and listed["g"]["next_at"] == BEGIN + 6 * HOUR
        hands.time += HOUR / 2
        same = await client.deploy(app, f=(ONE, {**HOURLY, **new}), g=(OTHER, {**DAILY, **new}))
        assert same["skipped"]
        assert (await schedules(client, app))["f"]["next_at"] == BEGIN + 1.5 * HOUR

    act(scene)


def test_schedules_end_with_their_function_their_schedule_or_their_app(act, hands):
    ran = Ran()

    async def scene(platform):
        await platform.worker(ran)
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY), g=(OTHER, HOURLY))
        await client.deploy(app, f=(ONE, {}))
        assert await schedules(client, app) == {}
        hands.time += 2 * HOUR
        await quiet(platform)
        await client.deploy(app, f=(ONE, HOURLY))
        await client.request("app.stop", app_id=app, reason="stopped")
        hands.time += 2 * HOUR
        await quiet(platform)
        assert ran.inputs == [] and await schedules(client, app) == {}
        assert platform.core.db.all("SELECT * FROM schedule") == []

    act(scene)


def test_a_function_of_an_app_that_is_run_does_not_run_by_itself_but_may_be_told_to(act, hands):
    ran = Ran()

    async def scene(platform):
        await platform.worker(ran)
        client = await platform.client()
        function = await client.app(**HOURLY)
        hands.time += 5 * HOUR
        await quiet(platform)
        assert ran.inputs == [] and (await schedules(client, client.app_id))["f"]["next_at"] is None
        await client.request("schedule.fire", function_id=function, call_id=ids.new("fc"))
        await until(lambda: len(ran.inputs) == 1)

    act(scene)


def test_running_now_is_done_once_and_changes_no_plan(act, hands):
    ran = Ran()

    async def scene(platform):
        await platform.worker(ran)
        client, app, call = await platform.client(), ids.new("ap"), ids.new("fc")
        await client.deploy(app, f=(ONE, HOURLY), g=(OTHER, {}))
        hands.time += 60
        for _ in range(2):
            await client.request("schedule.fire", function_id=ONE, call_id=call)
        await until(lambda: ran.inputs)
        await quiet(platform)
        listed = (await schedules(client, app))["f"]
        assert len(ran.inputs) == 1
        assert (listed["next_at"], listed["fired_at"], listed["call_id"]) == (BEGIN + HOUR, BEGIN + 60, call)
        with pytest.raises(exception.InvalidError, match="no schedule"):
            await client.request("schedule.fire", function_id=OTHER, call_id=ids.new("fc"))
        with pytest.raises(exception.NotFoundError):
            await client.request("schedule.fire", function_id=ids.new("fu"), call_id=ids.new("fc"))

    act(scene)


def test_a_run_that_could_not_be_committed_is_neither_lost_nor_doubled(act, hands):
    ran = Ran()

    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY))
        database, failures = platform.core.db, []
        commit = database.commit

        def failing():
            if len(failures) < 3:
                failures.append(1)
                raise exception.ResourceExhaustedError("the disk is full")
            commit()

        database.commit = failing
        hands.time += HOUR
        await until(lambda: len(failures) == 3 and not database.in_transaction)
        await until(lambda: database.all("SELECT count(*) FROM input") == [(1,)])
        await quiet(platform)
        assert database.all("SELECT count(*) FROM call") == [(1,)]
        await platform.worker(ran)
        await until(lambda: ran.inputs)
        await quiet(platform)
        assert len(ran.inputs) == 1

    act(scene)


def test_a_run_whose_rows_could_not_be_written_stays_due(act, hands):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY))
        database, failures = platform.core.db, []
        run = database.run

        def failing(statement, *parameters):
            if statement.startswith("INSERT INTO call") and len(failures) < 2:
                failures.append(1)
                database.failed = exception.ResourceExhaustedError("the disk is full")
                raise database.failed
            return run(statement, *parameters)

        database.run = failing
        hands.time += HOUR
        await until(lambda: database.all("SELECT count(*) FROM input") == [(1,)])
        await quiet(platform)
        assert len(failures) == 2 and database.all("SELECT count(*) FROM call") == [(1,)]

    act(scene)


def test_a_full_queue_drops_the_run_and_says_so_in_the_log(act, hands):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await client.deploy(app, f=(ONE, HOURLY))
        await client.create(ONE, [1, 2])
        hands.time += HOUR
        await until(lambda: platform.core.world.schedules[1].plan.next_at == BEGIN + 2 * HOUR)
        said = [b.body for b in [i async for i in client.peer.stream("app.logs", {"app_id": app})]]
        (entry,) = said[0]["entries"]
        assert entry["source"] == "system" and entry["text"].startswith("f: not run by its schedule: ")

    act(scene, sync_waiting=2)


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 0 30 2 *"},
        {"cron": "* * * * *", "timezone": "Nowhere"},
        {"period": {"days": -1}},
        {"period": {}},
        {},
    ],
)
def test_the_server_refuses_what_cannot_be_kept_and_changes_nothing(act, hands, schedule):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        with pytest.raises(exception.InvalidError):
            await client.deploy(app, f=(ONE, {"schedule": schedule}))
        assert platform.core.world.apps == {} and platform.core.world.schedules == {}

    act(scene)


