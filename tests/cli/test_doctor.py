"""What the doctor concludes, apart from what a machine really grants."""

from __future__ import annotations

import json
import sqlite3
import subprocess

from click import testing

from windlass.cli import doctor
from windlass.server.store import database


def test_a_machine_that_could_not_be_examined_is_not_said_to_be_able(tmp_path, monkeypatch):
    def late(argv, **how):
        raise subprocess.TimeoutExpired(argv, how["timeout"])

    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", late)
    shown = testing.CliRunner().invoke(doctor.command, [])
    assert shown.exit_code == 1 and "could not be found out" in shown.output and "can run on" in shown.output
    data = testing.CliRunner().invoke(doctor.command, ["--json"])
    assert data.exit_code == 1 and json.loads(data.output)["able"] is False
    assert json.loads(data.output)["findings"][-1]["state"] == "unknown"


def test_settings_that_lead_to_another_platform_are_told_apart_from_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINDLASS_CONFIG_PATH", str(tmp_path / "settings.toml"))
    monkeypatch.setattr(doctor, "_host", lambda root, worker: iter(()))

    def found() -> dict:
        shown = testing.CliRunner().invoke(doctor.command, ["--json"])
        assert shown.exit_code == 0, shown.output
        return {one["name"]: one for one in json.loads(shown.output)["findings"]}

    assert "settings" not in found() and "the next command starts it" in found()["platform"]["detail"]
    (tmp_path / "settings.toml").write_text('[there]\nserver_url = "https://gpu.example.org:8643"\n')
    doctor_says = found()
    assert "https://gpu.example.org:8643" in doctor_says["settings"]["detail"]
    assert "next command" not in doctor_says["platform"]["detail"]
    (tmp_path / "settings.toml").write_text("[there")
    assert found()["settings"]["state"] == "limited" and "malformed" in found()["settings"]["detail"]


def test_a_database_that_no_server_would_take_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_host", lambda root, worker: iter(()))
    path = tmp_path / "db/windlass.sqlite3"
    path.parent.mkdir()

    def found() -> dict:
        shown = testing.CliRunner().invoke(doctor.command, ["--json"])
        return next(one for one in json.loads(shown.output)["findings"] if one["name"] == "platform")

    database.Database(str(path))._connection.close()
    assert "starts it" in found()["detail"]
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9999")
    newer.close()
    before = path.read_bytes()
    assert found()["state"] == "limited" and "newer Windlass" in found()["detail"]
    assert path.read_bytes() == before
    path.write_bytes(b"no database, " * 1000)
    assert found()["state"] == "limited" and "damaged" in found()["detail"]
