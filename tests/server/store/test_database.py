"""The database file: old ones are brought up to date, foreign and damaged ones refused."""
from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from windlass import exception
from windlass.kit import ids
from windlass.server.store import apps, builds, database, deployments, environments, images, names, secrets


def test_a_database_of_every_older_release_is_migrated(tmp_path):
    scripts = database.migrations()
    for version in range(1, len(scripts) + 1):
        path = tmp_path / f"{version}.sqlite3"
        with sqlite3.connect(path) as old:
            for script in scripts[:version]:
                old.executescript(script)
            old.execute(f"PRAGMA user_version = {version}")
            old.execute("INSERT INTO secret (id, keys, env, created_at) VALUES ('st-1', '[]', x'00', 1.0)")
        db = database.Database(str(path))
        assert db.one("PRAGMA user_version") == (len(scripts),)
        assert db.one("SELECT id FROM secret") == ("st-1",)
        db.close()


def test_images_of_an_older_release_are_kept_and_can_be_named_and_used(tmp_path):
    path = tmp_path / "old.sqlite3"
    with sqlite3.connect(path) as old:
        for script in database.migrations()[:2]:
            old.executescript(script)
        old.execute("PRAGMA user_version = 2")
        old.execute("INSERT INTO image VALUES ('im-1', 'k', NULL, '{\"op\": \"base\"}', '{\"size\": 7}', 5.0)")
        old.execute("INSERT INTO image_current VALUES ('k', 'im-1')")
    db = database.Database(str(path))
    (row,) = images.everything(db).values()
    assert row == ("im-1", "k", None, {"op": "base"}, {"size": 7}, 5.0, None)
    assert images.current(db, "k") == ("im-1", {"size": 7})
    images.used(db, ["im-1"], 9.0)
    names.publish(db, names.Row("main", "n", "latest", "im-1", 10.0))
    assert images.by_id(db, "im-1").used_at == 9.0 and names.find(db, "main", "n", "latest") == "im-1"
    assert builds.by_image(db, "im-1") is None
    db.close()


def _before(name: str) -> list[str]:
    """The scripts that come before ``name``."""
    folder = Path(database.__file__).parent / "migrations"
    return [path.read_text() for path in sorted(folder.glob("*.sql")) if path.name < name]


def test_apps_of_an_older_release_have_environments_and_can_be_deployed_over(tmp_path):
    path = tmp_path / "old.sqlite3"
    scripts = _before("0005")
    with sqlite3.connect(path) as old:
        for script in scripts:
            old.executescript(script)
        old.execute(f"PRAGMA user_version = {len(scripts)}")
        old.execute(
            "INSERT INTO app (id, name, environment, state, created_at) VALUES ('ap-1', 'a', 'My_Dev', 1, 1.0)"
        )
        old.execute("INSERT INTO function (id, app, tag, spec) VALUES ('fu-1', 1, 'f', '{}')")
        old.execute("INSERT INTO image_name VALUES ('staging', 'n', 'latest', 'im-1', 1.0)")
    db = database.Database(str(path))
    rows = environments.everything(db)
    assert sorted((row.name, row.web_suffix) for row in rows) == [
        ("My_Dev", "my-dev"), ("main", ""), ("staging", "staging"),
    ]  # fmt: skip
    assert len({row.id for row in rows}) == 3 and all(ids.is_id(row.id, "en") for row in rows)
    (app,) = apps.live(db)
    assert (app.name, app.local_name, app.version) == ("a", "a", 0)
    (function,) = apps.functions_of_live(db)
    assert (function.generation, function.removed, function.pin) == (0, False, None)
    assert deployments.of_app(db, 1) == [] and apps.by_id(db, "ap-1").tags == "{}"
    db.close()


def test_secrets_of_an_older_release_keep_what_they_hold_and_leave_their_names_free(tmp_path):
    path, scripts = tmp_path / "old.sqlite3", _before("0008")
    with sqlite3.connect(path) as old:
        for script in scripts:
            old.executescript(script)
        old.execute(f"PRAGMA user_version = {len(scripts)}")
        for identity in ("st-1", "st-2"):
            row = (identity, "n", '["A"]', b"\x07", 1.0)
            old.execute("INSERT INTO secret (id, name, keys, env, created_at) VALUES (?, ?, ?, ?, ?)", row)
    db = database.Database(str(path))
    row = secrets.by_id(db, "st-1")
    assert row is not None and (row.name, row.keys, row.env, row.used_at) == (None, ["A"], b"\x07", None)
    secrets.insert(db, identity="st-3", name="n", app=None, keys=[], env=b"", now=1.0, environment="main")
    assert secrets.by_name(db, "main", "n").id == "st-3"
    db.close()


def test_secrets_that_no_version_has_are_forgotten(tmp_path):
    db = database.Database(str(tmp_path / "db.sqlite3"))
    for n, (app, state) in enumerate([("ap-deployed", 3), ("ap-runs", 1)], 1):
        db.run(f"INSERT INTO app (n, id, environment, state, created_at) VALUES ({n}, '{app}', 'main', {state}, 1.0)")
    db.run("INSERT INTO spec VALUES (1, 1, '{\"secrets\": [\"st-used\"]}')")
    for identity, app, made in [
        ("st-used", "ap-deployed", 1.0), ("st-unused", "ap-deployed", 1.0), ("st-new", "ap-deployed", 9.0),
        ("st-orphan", "ap-gone", 1.0), ("st-running", "ap-runs", 1.0), ("st-free", None, 1.0),
    ]:  # fmt: skip
        secrets.insert(db, identity=identity, name=None, app=app, keys=[], env=b"", now=made)
    secrets.forget_unused(db, 5.0)
    left = {identity for (identity,) in db.all("SELECT id FROM secret")}
    assert left == {"st-used", "st-new", "st-running", "st-free"}
    db.close()


def test_a_newer_database_is_refused_untouched(tmp_path):
    path = tmp_path / "new.sqlite3"
    with sqlite3.connect(path) as new:
        new.execute("PRAGMA user_version = 77")
    with pytest.raises(exception.VersionError, match="newer Windlass"):
        database.Database(str(path))
    with sqlite3.connect(path) as new:
        assert new.execute("PRAGMA user_version").fetchone() == (77,)


def test_something_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "text.sqlite3"
    path.write_text("hello " * 1000)
    with pytest.raises(exception.DataLossError, match=r"text\.sqlite3 is damaged"):
        database.Database(str(path))


def test_every_named_statement_is_valid_sql(tmp_path):
    db = database.Database(str(tmp_path / "db.sqlite3"))
    nouns = [path.stem for path in Path(database.__file__).parent.glob("queries/*.sql")]
    assert "apps" in nouns
    for noun in nouns:
        for name, text in database.queries(noun).items():
            names = {word.strip("(),;<>=") for word in text.replace(":", " :").split() if word.startswith(":")}
            parameters = {n[1:]: 0 for n in names} if names else (0,) * text.count("?")
            assert db.run(f"EXPLAIN {text}", parameters), name
    db.close()
