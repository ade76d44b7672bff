"""A server that is killed while versions are published has one of them whole."""
from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3

import fakes
import standing
from test_containers_life import until

from windlass import exception
from windlass.kit import ids

TAGS = ("f", "g", "h")


def recorded(home) -> tuple[int, set[str], int]:
    """The current version, what code its functions have, and how many versions the history knows."""
    with contextlib.closing(sqlite3.connect(home / "db" / "windlass.sqlite3")) as db:
        (version, layout) = db.execute("SELECT version, layout FROM app").fetchone()
        specs = dict(db.execute("SELECT id, spec FROM function").fetchall())
        (known,) = db.execute("SELECT count(*) FROM deployment").fetchone()
    return version, {json.loads(specs[identity])["qualname"] for identity in json.loads(layout).values()}, known


def test_after_each_kill_there_is_one_whole_version(home):
    async def scene() -> None:
        app, functions = ids.new("ap"), {tag: ids.new("fu") for tag in TAGS}
        acknowledged = last = 0

        async def publish(client) -> None:
            nonlocal acknowledged, last
            with contextlib.suppress(exception.Error, OSError):
                while True:
                    last += 1
                    parts = {tag: (functions[tag], {"qualname": f"code{last}"}) for tag in TAGS}
                    await client.deploy(app, **parts)
                    acknowledged = last

        for patience in (0.3, 0.05, 0.11, 0.17, 0.08):
            server = await standing.Standing(home).start()
            client = await fakes.Client(home).start()
            before = acknowledged
            publishing = asyncio.ensure_future(publish(client))
            await until(lambda before=before: acknowledged > before)
            await asyncio.sleep(patience)
            server.kill()
            await publishing
            version, code, known = recorded(home)
            assert len(code) == 1 and known == version
            assert int(code.pop().removeprefix("code")) >= acknowledged, "what was acknowledged is there"

    asyncio.run(scene())
