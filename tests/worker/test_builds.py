"""Results of builds reach the server, whatever it thinks of them."""
from __future__ import annotations

import asyncio

from windlass import exception
from windlass.kit import tasks
from windlass.worker import builds


class _Runtime:
    async def build(self, plan, write):
        return {"size": "not a number"}


def test_a_refused_result_is_told_as_a_failure():
    told = []

    async def call(method, body):
        if method == "build.result":
            told.append(dict(body))
            if body["error"] is None:
                raise exception.InvalidError("size: expected int")
        return {}

    async def scene():
        owner = tasks.Tasks()
        made = builds.Builds(_Runtime(), call=call, owner=owner)
        made.want(["bu-1"])
        while made.names():
            await asyncio.sleep(0.01)
        await owner.close()

    asyncio.run(asyncio.wait_for(scene(), 10))
    assert [one["error"] is None for one in told] == [True, False]
    assert "size: expected int" in told[1]["error"]


def test_a_refused_failure_is_not_told_again():
    told = []

    async def call(method, body):
        if method == "build.plan":
            raise exception.NotFoundError("no such build")
        told.append(dict(body))
        raise exception.NotFoundError("no such build")

    async def scene():
        owner = tasks.Tasks()
        made = builds.Builds(_Runtime(), call=call, owner=owner)
        made.want(["bu-1"])
        while made.names():
            await asyncio.sleep(0.01)
        await owner.close()

    asyncio.run(asyncio.wait_for(scene(), 10))
    assert len(told) == 1
