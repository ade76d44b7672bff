"""`windlass server backup` and `restore` as a person meets them: questions, refusals, and what to do next."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click import testing

from windlass import exception, paths
from windlass.cli import programs, server
from windlass.cli.backups import parts
from windlass.server.store import database


@pytest.fixture
def home(tmp_path, monkeypatch):
    root = tmp_path / "home"
    (root / "db").mkdir(parents=True)
    (root / "db/key").write_text("key")
    database.Database(str(root / parts.DATABASE)).close()
    monkeypatch.setenv("WINDLASS_HOME", str(root))
    return root


def ran(*words: object) -> testing.Result:
    return testing.CliRunner().invoke(server.group, [str(word) for word in words])


def test_what_is_there_is_replaced_only_when_that_was_said_and_confirmed(home, tmp_path):
    made = ran("backup", tmp_path / "b.tar")
    assert made.exit_code == 0 and "2 files" in made.output and "whoever reads the backup" in made.output
    refused = ran("restore", tmp_path / "b.tar")
    assert isinstance(refused.exception, exception.AlreadyExistsError) and "--replace" in refused.exception.hint
    unasked = ran("restore", "--replace", tmp_path / "b.tar")
    assert unasked.exit_code == 1 and "--yes" in unasked.output
    (home / "db/key").write_text("another")
    done = ran("restore", "--replace", "--yes", tmp_path / "b.tar")
    assert done.exit_code == 0 and (home / "db/key").read_text() == "key" and "deploy your apps" in done.output


def test_a_restore_needs_a_backup_and_a_platform_that_is_stopped(home, tmp_path):
    assert "Which backup?" in ran("restore").output
    missing = ran("restore", tmp_path / "nothing.tar")
    assert isinstance(missing.exception, exception.NotFoundError)
    programs.prepare(home)
    lock = programs.take_lock(home)
    assert lock is not None
    running = ran("restore", tmp_path / "nothing.tar")
    assert isinstance(running.exception, exception.ConflictError) and "windlass server stop" in running.exception.hint
    inside = ran("backup", home / "blobs" / "b.tar")
    assert isinstance(inside.exception, exception.InvalidError)


def test_a_half_finished_restore_is_recognised_and_nothing_starts_until_it_is_finished(home):
    draft = home / ".restored-x"
    (draft / "db").mkdir(parents=True)
    database.Database(str(draft / parts.DATABASE)).close()
    (draft / "db/key").write_text("restored")
    journal = {"draft": ".restored-x", "moved": ["db"], "replaced": ["blobs"]}
    paths.unfinished_restore(home).write_text(json.dumps(journal))
    command = [sys.executable, "-m", "windlass.server", "--home", str(home)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 1 and "not finished" in refused.stderr and "windlass server restore" in refused.stderr
    assert (home / "db/key").read_text() == "key"
    done = ran("restore")
    assert done.exit_code == 0 and "is finished" in done.output
    assert (home / "db/key").read_text() == "restored" and not list(home.glob(".re*"))
    assert not paths.unfinished_restore(home).exists()


def test_a_backup_says_when_it_is_a_folder_whatever_its_name_promises(home, tmp_path):
    assert f"are kept in the folder {tmp_path / 'b.zip'}." in ran("backup", tmp_path / "b.zip").output
    assert f"are kept in {tmp_path / 'b.tgz'}." in ran("backup", tmp_path / "b.tgz").output
