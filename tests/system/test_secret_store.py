"""Secrets with names: stored, updated, listed, deleted, and nowhere to be read in clear."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import uuid

import pytest

import leftovers
import windlass
from stage import until


def environment(*names: str):
    import os

    return {name: os.environ.get(name) for name in names}


def digest(name: str) -> str:
    import hashlib
    import os

    return hashlib.sha256(os.environ[name].encode()).hexdigest()


@pytest.fixture(autouse=True, scope="module")
def nothing_stays(stage):
    yield
    for one in windlass.Secret.objects.list():
        windlass.Secret.objects.delete(one.name)


def test_a_stored_secret_reaches_containers_and_an_update_the_next_ones(stage):
    windlass.Secret.objects.create("test-db", {"USER": "me", "PASSWORD": "old"})
    found = windlass.Secret.from_name("test-db", required_keys=["PASSWORD"])
    one = windlass.App("test-secret-store")
    options = {"serialized": True, "secrets": [found], "single_use_containers": True}
    function = one.function(**options)(environment)
    with one.run():
        assert function.remote("USER", "PASSWORD", "NEW") == {"USER": "me", "PASSWORD": "old", "NEW": None}
        found.update({"PASSWORD": "new", "NEW": "1"})
        assert function.remote("USER", "PASSWORD", "NEW") == {"USER": "me", "PASSWORD": "new", "NEW": "1"}
    info = found.info()
    assert info.name == "test-db" and info.environment_name == "main" and info.last_used is not None


def test_missing_secrets_and_keys_stop_the_app_before_anything_runs(stage):
    windlass.Secret.objects.create("test-few", {"ONE": "1"})
    for name, keys, error in (
        ("test-few", ["ONE", "TWO", "THREE"], windlass.exception.InvalidError),
        ("test-none", [], windlass.exception.NotFoundError),
    ):
        one = windlass.App("test-secret-store")
        one.function(serialized=True, secrets=[windlass.Secret.from_name(name, required_keys=keys)])(environment)
        with pytest.raises(error, match="TWO, THREE" if keys else "test-none"), one.run():
            pass


def test_the_command_line_stores_lists_and_deletes_without_showing_values(stage, tmp_path):
    value = uuid.uuid4().hex
    made = stage.cli("secret", "create", "test-cli", f"A={value}", "B=x=y", check=0)
    assert value not in made.text and 'os.environ["A"]' in made.out
    assert "--force" in stage.cli("secret", "create", "test-cli", "A=1", check=1).err
    (tmp_path / "env").write_text("C='from a file'\n")
    (tmp_path / "wrong.json").write_text(f'{{"A": 1, "{value}": }}')
    stage.cli("secret", "update", "test-cli", "--from-dotenv", str(tmp_path / "env"), check=0)
    windlass.Secret.from_name("test-cli", required_keys=["A", "B", "C"]).hydrate()
    for wrong in (
        [], ["A"], ["=x"], ["A B=1"], ["--from-json", str(tmp_path / "wrong.json")], ["--from-dotenv", "/none"],
    ):  # fmt: skip
        ran = stage.cli("secret", "create", "test-other", *wrong, check=2)
        assert value not in ran.text
    (tmp_path / "right.json").write_text('{"D": "1"}')
    stage.cli("secret", "create", "test-cli", "--force", "--from-json", str(tmp_path / "right.json"), check=0)
    with pytest.raises(windlass.exception.InvalidError):
        windlass.Secret.from_name("test-cli", required_keys=["A"]).hydrate()
    (row,) = [one for one in stage.json("secret", "list") if one["name"] == "test-cli"]
    assert row["last_used_at"] is None and row["created_by"]
    stage.cli("secret", "delete", "test-cli", "--yes", check=0)
    stage.cli("secret", "delete", "test-cli", "--allow-missing", check=0)
    assert stage.cli("secret", "delete", "test-cli", "--yes").code == 1


def test_an_editor_keeps_a_value_out_of_the_command_line(stage, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho typed > "$1"\n')
    editor.chmod(0o755)
    stage.cli("secret", "create", "test-typed", "KEY=-", check=0, EDITOR=str(editor), VISUAL=str(editor))
    one = windlass.App("test-secret-store")
    function = one.function(serialized=True, secrets=[windlass.Secret.from_name("test-typed")])(environment)
    with one.run():
        assert function.remote("KEY") == {"KEY": "typed"}


def test_a_stored_value_is_nowhere_to_be_read_in_clear_also_after_a_crash(stage):
    value = uuid.uuid4().hex
    windlass.Secret.objects.create("test-hidden", {"TOKEN": "before"})
    hidden = windlass.Secret.from_name("test-hidden")
    hidden.update({"TOKEN": value})
    one = windlass.App("test-secret-store")
    function = one.function(serialized=True, secrets=[hidden])(digest)  # a result is stored as it is
    with one.run():
        assert function.remote("TOKEN") == hashlib.sha256(value.encode()).hexdigest()
        assert value not in subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
    server = stage.pid("server")
    os.kill(server, signal.SIGSEGV)
    until(lambda: stage.pid("server") not in (0, server), what="a new server")
    until(lambda: leftovers.holding(stage.home, value) == [], 60, "no file of the platform holds it")
    assert stat.S_IMODE((stage.home / "db/key").stat().st_mode) == 0o600
    one = windlass.App("test-secret-store")
    function = one.function(serialized=True, secrets=[hidden])(digest)
    with one.run():
        assert function.remote("TOKEN") == hashlib.sha256(value.encode()).hexdigest(), "the key is the same"
