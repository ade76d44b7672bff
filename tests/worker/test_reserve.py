"""How many forks wait, whose, and when they are made."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windlass.worker.snapshots import reserve, spare, stock, template

GIB = 1 << 30
PLAN: Any = {"function_id": "fu-1"}


def known(*, proven: int = 0, idle: float = 1.0, ceiling: int = 1000, each: int = 0) -> reserve.Known:
    return reserve.Known(proven, idle, ceiling, each)


def shares(*, memory: int = 24 * GIB, scarce: bool = False, **templates: reserve.Known) -> dict[str, int]:
    return reserve.shares(templates, memory, scarce=scarce)


def test_as_many_are_proven_as_were_wanted_at_once_in_the_last_minutes():
    demand = reserve.Demand()
    assert demand.proven(0.0) == 0
    for n in range(20):
        demand.note(100 + n / 20)
    assert demand.proven(150.0) == 20
    demand.note(200.0)
    assert demand.proven(400.0) == 20
    assert demand.proven(402.0) == 0
    for n in range(100):
        demand.note(500 + n / 1000)
    assert demand.proven(501.0) == 100


def test_a_template_that_was_used_lately_has_the_room_of_the_machine_to_itself():
    assert shares(a=known()) == {"a": reserve.MOST}


def test_a_template_that_was_not_used_for_long_keeps_what_bursts_have_proven_and_else_the_least():
    assert shares(a=known(idle=121.0), b=known(idle=121.0, proven=20)) == {"a": reserve.LEAST, "b": 20}


def test_no_more_wait_than_their_function_may_have_containers():
    assert shares(a=known(ceiling=5)) == {"a": 5}
    assert reserve.ceiling(5, 128 << 20, 24 * GIB) == 5
    assert reserve.ceiling(0, 8 * GIB, 24 * GIB) == 3
    assert shares(a=known(ceiling=1)) == {"a": reserve.LEAST}


def test_templates_share_the_room_in_equal_parts_whoever_was_used_last():
    once, again = shares(a=known(idle=1.0), b=known(idle=9.0)), shares(a=known(idle=9.0), b=known(idle=1.0))
    assert once == again == {"a": reserve.MOST // 2, "b": reserve.MOST // 2}


def test_what_one_does_not_wish_is_left_to_the_others():
    assert shares(a=known(ceiling=4), b=known()) == {"a": 4, "b": reserve.MOST - 4}


def test_proven_wishes_come_before_hopes():
    assert shares(a=known(proven=50), b=known()) == {"a": 56, "b": 8}


@pytest.mark.parametrize(("each", "memory"), [(0, 4 * GIB), (6 << 20, 1 * GIB), (100 << 20, 24 * GIB), (0, 24 * GIB)])
def test_all_that_wait_have_a_fiftieth_of_the_memory_but_for_the_least_of_each(each, memory):
    found = shares(memory=memory, a=known(each=each, proven=100), b=known(each=each))
    least = reserve.LEAST * len(found)
    assert sum(found.values()) <= max(least, memory // 50 // max(each, reserve.EACH))
    assert sum(found.values()) <= reserve.MOST
    assert min(found.values()) >= reserve.LEAST


def test_where_memory_is_scarce_only_the_least_wait():
    assert shares(scarce=True, a=known(proven=50), b=known()) == {"a": reserve.LEAST, "b": reserve.LEAST}


def timely(waiting: int, **more: Any) -> bool:
    return reserve.timely(waiting, **{"proven": 0, "calls": 0, "rested": True, "settled": 9.0, "idle": 0.9, **more})


BUSY = {"rested": False, "settled": 0.0, "idle": 0.0}


def test_the_least_are_made_at_once():
    assert timely(reserve.LEAST - 1, calls=9, **BUSY)


def test_what_is_proven_is_made_as_soon_as_no_call_waits():
    assert timely(10, proven=11, **BUSY)
    assert not timely(10, proven=11, calls=1)
    assert not timely(11, proven=11, **BUSY)


def test_what_is_only_hoped_waits_for_calls_for_its_turn_for_quiet_and_for_an_idle_machine():
    assert timely(10)
    for why in ({"calls": 1}, {"rested": False}, {"settled": 1.5}, {"idle": 0.3}):
        assert not timely(10, **why), why


@pytest.fixture
def idle(monkeypatch) -> None:
    monkeypatch.setattr(spare.Processors, "idle", lambda self: 1.0)
    monkeypatch.setattr(reserve, "SETTLED", 0.0)


def test_hoped_forks_are_made_one_by_one_and_in_a_third_of_the_time(idle, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(spare.time, "monotonic", lambda: now[0])
    turns = spare.Spare()
    assert turns.is_now(10, 0)
    with turns.used():
        assert not turns.is_now(10, 0) and turns.is_now(0, 0)
        now[0] += 3
    now[0] += 5.9
    assert not turns.is_now(10, 0)
    now[0] += 0.2
    assert turns.is_now(10, 0)
    with turns.wanted():
        assert not turns.is_now(10, 0)


def test_idleness_is_a_part_of_the_time():
    processors = spare.Processors()
    assert 0.0 <= processors.idle() <= 1.0
    assert processors.idle() == processors.idle()


class _Held:
    """A cell that counts when it is given back."""

    def __init__(self) -> None:
        self.made = self.closed = 0

    async def make(self) -> stock.Cell:
        self.made += 1
        held = contextlib.AsyncExitStack()
        held.callback(self._close)
        group: Any = type("Group", (), {"used": lambda self: 0})()
        return stock.Cell(f"ce-{self.made}", None, 1, 2, None, group, held)  # type: ignore[arg-type]

    def _close(self) -> None:
        self.closed += 1


async def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_family_has_its_share_ready_gives_back_what_is_too_much_and_all_at_its_end(idle):
    async def scene() -> None:
        family, held, share = template.Family("kind", Path("/nowhere"), PLAN), _Held(), [6]
        filling = asyncio.ensure_future(family.stock.fill(held.make, lambda: share[0], spare.Spare()))
        await _until(lambda: held.made == 6)
        share[0] = 3
        family.stock.look()
        await _until(lambda: held.closed == 3)
        await family.stock.take()
        family.close()
        await filling
        assert (held.made, held.closed) == (6, 5)

    asyncio.run(scene())


def test_who_was_just_taken_is_not_late_for_one_that_is_made_again(monkeypatch):
    async def scene() -> None:
        family, held = template.Family("kind", Path("/nowhere"), PLAN), _Held()
        filling = asyncio.ensure_future(family.stock.fill(held.make, lambda: reserve.LEAST, spare.Spare()))
        await _until(lambda: held.made == reserve.LEAST)
        began = time.monotonic()
        ready = await family.stock.take()
        family._say = lambda body: None  # type: ignore[method-assign]
        family.go(ready._replace(folder=type("Folder", (), {"log": ""})()), "ta-1")
        await _until(lambda: held.made > reserve.LEAST)
        assert time.monotonic() - began >= 0.2
        family.close()
        await filling

    asyncio.run(scene())
