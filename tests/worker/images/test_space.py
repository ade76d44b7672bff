"""A step is stopped before the disk is full."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import space


def test_work_that_fits_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert asyncio.run(space.guarded(work(), Path("/"), left=lambda _: space.RESERVE)) == 7


def test_work_that_fails_fails() -> None:
    async def work() -> int:
        raise exception.NotFoundError("nothing here")

    with pytest.raises(exception.NotFoundError):
        asyncio.run(space.guarded(work(), Path("/"), left=lambda _: space.RESERVE))


def test_work_is_stopped_when_less_than_the_reserve_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "_EVERY", 0.001)
    ended: list[str] = []
    left = iter([2 * space.RESERVE] * 3 + [space.RESERVE - 1])

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stopped")

    with pytest.raises(exception.ResourceExhaustedError, match="disk of Windlass' home is full: 256 MiB"):
        asyncio.run(space.guarded(work(), Path("/"), left=lambda _: next(left)))
    assert ended == ["stopped"]
