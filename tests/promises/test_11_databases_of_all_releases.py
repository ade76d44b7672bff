"""A database of an older release is migrated; one of a newer release is refused; a migration is whole or not begun."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fakes
import pytest

from windlass import exception
from windlass.server import compose, settings
from windlass.server.objects import keyring
from windlass.server.store import database

NOW = time.time()
APP, FUNCTION, IMAGE = "ap-" + "A" * 22, "fu-" + "F" * 22, fakes.SPEC["image_id"]
DONE, OPEN, VOLUME, LAYER = "fc-" + "D" * 22, "fc-" + "O" * 22, "vo-" + "V" * 22, "vl-" + "L" * 22
ANSWER, ARGUMENTS = pickle.dumps(42), pickle.dumps(((5,), {}))
SPEC = json.dumps(fakes.SPEC)

ROWS: dict[str, list[dict]] = {
    "app": [dict(n=1, id=APP, name="shop", environment="main", description="shop", state=3, published=1,
                 layout=json.dumps({"f": FUNCTION}), created_at=NOW, version=1, local_name="shop")],
    "function": [dict(n=1, id=FUNCTION, app=1, tag="f", spec=SPEC, generation=1)],
    "call": [dict(n=1, id=DONE, function=1, kind=2, closed=1, created_at=NOW, done_at=NOW, num_inputs=1),
             dict(n=2, id=OPEN, function=1, kind=2, closed=1, created_at=NOW, num_inputs=1)],
    "input": [dict(key=1 << 30, function=1, state=2, attempt=1, container=1, status=0, seq=1, size=9),
              dict(key=2 << 30, function=1, state=0, size=len(ARGUMENTS), payload=ARGUMENTS)],
    "output": [dict(key=1 << 30 | 1, idx=0, status=0, retries=0, size=len(ANSWER), data=ANSWER)],
    "container": [dict(n=1, id="ta-" + "C" * 22, function=1, app=1, node="n1", state=5, created_at=NOW, gone_at=NOW,
                       exit='{"reason": "stopped"}')],
    "image": [dict(id=IMAGE, key="k", recipe='{"op": "base"}', meta='{"layers": [], "size": 1}', built_at=NOW)],
    "image_current": [dict(key="k", id=IMAGE)],
    "secret": [dict(n=1, id="st-" + "S" * 22, app=APP, keys='["A"]', env=b"", created_at=NOW)],
    "log": [dict(n=1, app=1, function=1, container=1, time=NOW, source="stdout", text="printed then")],
    "expired": [dict(id="fc-" + "E" * 22, at=NOW)],
    "image_build": [dict(image=IMAGE, command="base", started_at=NOW, ended_at=NOW)],
    "image_log": [dict(n=1, image=IMAGE, time=NOW, text="making it")],
    "image_name": [dict(environment="main", name="named", tag="latest", image=IMAGE, published_at=NOW)],
    "environment": [dict(id="en-" + "N" * 22, name="staging", web_suffix="staging", created_at=NOW)],
    "spec": [dict(function=1, generation=1, spec=SPEC)],
    "deployment": [dict(app=1, version=1, deploy_id="de-" + "P" * 22, deployed_at=NOW,
                        layout=json.dumps({"f": [FUNCTION, 1]}), facts="{}")],
    "schedule": [dict(function=1, schedule='{"cron": "0 0 1 1 *"}', since=NOW, next_at=NOW + 1e7)],
    "minute": [dict(function=1, minute=int(NOW // 60), figures="{}")],
    "collection": [dict(id="di-" + "I" * 22, kind="dict", name="kept", environment="main", content=1, created_at=NOW,
                        created_by="u"),
                   dict(id="qu-" + "Q" * 22, kind="queue", name="line", environment="main", content=2, created_at=NOW,
                        created_by="u")],
    "content": [dict(n=1, kind="dict"), dict(n=2, kind="queue"), dict(n=3, kind="partition")],
    "queue_partition": [dict(queue=2, key=b"", n=3, expires_at=NOW + 1e6, next=2)],
    "queue_item": [dict(part=3, seq=1, value=b"v")],
    "receipt": [dict(client="cl-" + "L" * 22, op=1, at=NOW, answer="{}", size=0)],
    "record": [dict(n=1, call=DONE, idx=0, attempt=1, function=1, method="", kind=2, outcome=0, final=1, queue=0.1,
                    start=0.0, run=1.0, ended_at=NOW, reason="", size=0)],
    "nfs": [dict(id="sv-" + "N" * 22, environment="main", name="shared", created_at=NOW, created_by="u", beat_at=NOW)],
    "proxy_token": [dict(id="wk-1", name="t", digest="0" * 64, environments="[]", created_at=NOW, created_by="u")],
    "snapshot": [dict(image=IMAGE)],
    "dict_entry": [dict(content=1, key=b"k", used_at=NOW, size=1, value=b"v")],
    "volume": [dict(id=VOLUME, environment="main", name="files", kind=1, head=1, created_at=NOW, created_by="u",
                    beat_at=NOW)],
    "volume_version": [dict(volume=VOLUME, n=1, made_by="u", layer=LAYER, layers=json.dumps([LAYER]), puts=b"",
                            clears=b"", files=1, size=1, created_at=NOW)],
    "volume_layer": [dict(id=LAYER, digest="sha256:" + "0" * 64, files=1, size=1)],
    "web_domain": [dict(name="kept.example", created_at=NOW)],
    "sandbox": [dict(n=1, id="sb-" + "B" * 22, app=1, spec="{}", state=3, created_at=NOW, ended_at=NOW, code=0)],
}  # fmt: skip
"""One of each noun, as a release would have left it. Other tables, where they are empty, get a row of anything, which
later schemas must keep, but which no server sees."""

CHANGED = {("log", "call"): "names calls by id since 0007", ("secret", "name"): "nobody could read them before 0008"}


def _columns(db: sqlite3.Connection, table: str) -> dict[str, str]:
    return {row[1]: row[2] for row in db.execute(f"PRAGMA table_info({table})")}


def _tables(db: sqlite3.Connection) -> list[str]:
    found = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found]


def _anything(db: sqlite3.Connection, table: str) -> dict:
    kinds = {"INTEGER": 1, "REAL": 1.0, "TEXT": "{}", "BLOB": b"x"}
    info = db.execute(f"PRAGMA table_info({table})")
    return {name: kinds[kind] for _, name, kind, needed, default, key in info if (needed or key) and default is None}


def old_database(path: Path, version: int, env: bytes = b"") -> tuple[dict[str, list[tuple]], set[str]]:
    """What a release with ``version`` migrations would have left; returned: its rows, and tables with just anything."""
    rows: dict[str, list[tuple]] = {}
    made_up: set[str] = set()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for script in database.migrations()[:version]:
            db.executescript(script)
        db.execute(f"PRAGMA user_version = {version}")
        for table in _tables(db):
            columns = _columns(db, table)
            empty = db.execute(f"SELECT 1 FROM {table}").fetchone() is None
            if table not in ROWS and empty:
                made_up.add(table)
            for row in ROWS.get(table, [_anything(db, table)] if empty else []):
                row = {name: value for name, value in row.items() if name in columns}
                if table == "secret":
                    row["env"] = env
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
            rows[table] = _rows(db, table, list(columns))
    return rows, made_up


def _rows(db: sqlite3.Connection, table: str, columns: list[str]) -> list[tuple]:
    kept = [name for name in columns if (table, name) not in CHANGED]
    return db.execute(f"SELECT {', '.join(kept)} FROM {table} ORDER BY rowid" if _has_rowid(db, table) else
                      f"SELECT {', '.join(kept)} FROM {table}").fetchall()  # fmt: skip


def _has_rowid(db: sqlite3.Connection, table: str) -> bool:
    (text,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return "WITHOUT ROWID" not in text


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="w-old-"))
    (folder / "db").mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("version", range(1, len(database.migrations()) + 1))
def test_what_every_older_release_left_is_there_and_goes_on(home, version):
    path = home / "db" / "windlass.sqlite3"
    before, made_up = old_database(path, version, keyring.Keyring(home / "db" / "key").encrypt({"A": "kept"}))
    database.Database(str(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table, rows in before.items():
            kept = [name for name in _old_columns(version, table) if name in _columns(db, table)]
            after = _rows(db, table, kept)
            assert set(rows) <= set(after), f"{table} of schema {version}"
            assert len(rows) == len(after) or table == "environment"
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table in made_up & set(_tables(db)):
            db.execute(f"DELETE FROM {table}")
        db.commit()
    asyncio.run(asyncio.wait_for(_goes_on(home), 20))


def _old_columns(version: int, table: str) -> list[str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for script in database.migrations()[:version]:
            db.executescript(script)
        return list(_columns(db, table))


async def _goes_on(home: Path) -> None:
    """A server on it answers for what was done, and does what was waiting."""
    async with compose.server(settings.Settings(home=home, tick=0.05)) as core:
        worker = await fakes.Worker(home, lambda args, kwargs, lease: args[0] * 2).start()
        client = await fakes.Client(home).start()
        ((done,), (waited,)) = [await client.outputs(call, wait=True) for call in (DONE, OPEN)]
        assert (done["status"], done["data"]) == ("success", 42)
        assert (waited["status"], waited["data"]) == ("success", 10)
        names = [app["name"] for app in (await client.request("app.list"))["apps"]]
        assert "shop" in names
        env = core.db.one("SELECT env FROM secret")
        assert env is not None and core.keyring.decrypt(env[0]) == {"A": "kept"}
        client.peer.close()
        worker.peer.close()


def _left(path: Path) -> tuple[int, list[str]]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0], _tables(db)


def test_a_step_that_fails_leaves_the_schema_before_it_whole(home, monkeypatch):
    path, steps = home / "db.sqlite3", database.migrations()
    old_database(path, len(steps) - 1)
    bad = "CREATE TABLE half (n INTEGER);\nINSERT INTO half VALUES (1);\nINSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr(database, "migrations", lambda: [*steps, bad, "CREATE TABLE never (n INTEGER)"])
    with pytest.raises(exception.InternalError, match=f"stays at schema {len(steps)}.*nowhere") as caught:
        database.Database(str(path))
    assert "that one" in caught.value.hint
    version, tables = _left(path)
    assert version == len(steps) and not {"half", "never"} & set(tables)
    monkeypatch.undo()
    database.Database(str(path)).close()


def test_a_server_killed_in_the_middle_of_a_step_begins_it_again(home):
    path, steps = home / "db.sqlite3", database.migrations()
    old_database(path, len(steps))
    program = (
        "from windlass.server.store import database as d\n"
        "steps = d.migrations()\n"
        "c = 'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)'\n"
        "many = f'{c} SELECT randomblob(4000) FROM c LIMIT 1000000000'\n"
        "d.migrations = lambda: [*steps, f'CREATE TABLE half (n INTEGER); INSERT INTO half {many};']\n"
        f"d.Database({str(path)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ))
    try:
        deadline = time.monotonic() + 20
        wal = Path(f"{path}-wal")
        while not wal.exists() or wal.stat().st_size < 1_000_000:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    version, tables = _left(path)
    assert version == len(steps) and "half" not in tables
    database.Database(str(path)).close()


def test_a_database_of_a_newer_release_is_refused_and_not_touched(home):
    path = home / "db" / "windlass.sqlite3"
    database.Database(str(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9999")
    before = path.read_bytes()
    command = [sys.executable, "-m", "windlass.server", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1 and "written by a newer Windlass" in done.stderr and "Upgrade Windlass" in done.stderr
    assert path.read_bytes() == before
