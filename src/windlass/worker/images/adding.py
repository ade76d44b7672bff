"""A Python for an image that has none, or another one: put into ``/usr/local``, and before any other in the PATH."""
from __future__ import annotations

import asyncio

from windlass.worker import spec
from windlass.worker.images import cache, making, python, standalone


async def make(shop: making.Shop, job: making.Job) -> cache.Record:
    """The record of the image with it. Raises ``ImageBuildError`` that says what is possible on this machine."""
    held, series = job.held, job.recipe.get("python", "")
    layers = making.files(shop, held)
    tree = await shop.pythons.tree(series, host=job.host, log=job.log)
    standalone.check(tree, series, layers)
    await asyncio.to_thread(standalone.place, tree, series, layers, job.draft.tree())
    record = making.grown(held, job)
    if python.of(record, [*layers, job.draft.files]).version == series:
        return record
    path = f"{standalone.PREFIX / 'bin'}:{held['env'].get('PATH', spec.PATH)}"
    return {**record, "env": {**record["env"], "PATH": path}}
