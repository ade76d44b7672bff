"""Environments keep apps apart, for the command line, for programs and inside containers."""

from __future__ import annotations

import pytest

import windlass
from stage import until

SOURCE = """
import os
import modal

app = modal.App("env-app")

@app.function()
def where():
    return os.environ["MODAL_ENVIRONMENT"]

@app.function()
def beside():
    return modal.Function.from_name("env-app", "where").remote()
"""


@pytest.fixture
def dev(stage):
    name = "test-dev"
    free = "its apps of the test before are being removed"
    until(lambda: stage.cli("environment", "create", name).code == 0, 40, free)
    yield name
    stage.cli("environment", "delete", name, "--yes")


def where(function: str = "where", **more):
    return windlass.Function.from_name("env-app", function, **more).remote()


def test_one_name_in_two_environments_is_two_apps(stage, program, dev, monkeypatch):
    path = program("env_app.py", SOURCE)
    stage.cli("deploy", path, check=0)
    with pytest.raises(windlass.exception.NotFoundError, match=dev):
        where(environment_name=dev)
    stage.cli("deploy", "-e", dev, path, check=0)
    assert (where(), where(environment_name=dev)) == ("main", dev)
    assert where("beside", environment_name=dev) == dev, "inside, its own environment is meant"
    monkeypatch.setenv("MODAL_ENVIRONMENT", dev)
    assert where() == dev and where(environment_name="main") == "main"
    monkeypatch.delenv("MODAL_ENVIRONMENT")
    assert len(stage.apps("env-app")) == 2
    assert len(stage.json("app", "list", "-e", dev)) == 1
    meant = [stage.json("function", "info", "env-app.where", *env) for env in ([], ["-e", "main"], ["-e", dev])]
    assert meant[0] == meant[1] != meant[2], "a function that is named is looked for as programs do"
    assert '"environment": "main"' in stage.cli("app", "info", "env-app", "--json", check=0).out
    assert dev in stage.cli("app", "info", "env-app", "--json", check=0, WINDLASS_ENVIRONMENT=dev).out
    listed = {row["name"]: row for row in stage.json("environment", "list")}
    assert listed[dev]["apps"] == 1 and listed["main"]["active"] and not listed[dev]["active"]
    stage.cli("app", "stop", "env-app", "-e", dev, "--yes", check=0)
    assert where() == "main"


def test_a_deleted_environment_takes_its_apps_with_it(stage, program):
    stage.cli("environment", "create", "test-gone", check=0)
    stage.cli("deploy", "-e", "test-gone", program("env_app.py", SOURCE), check=0)
    assert where(environment_name="test-gone") == "test-gone"
    (app_id,) = (app["app_id"] for app in stage.json("app", "list", "-e", "test-gone"))
    assert stage.containers(app_id)
    ran = stage.cli("environment", "delete", "test-gone", check=1)
    assert "1 app" in ran.err and "--yes" in ran.err
    stage.cli("environment", "delete", "test-gone", "--yes", check=0)
    with pytest.raises(windlass.exception.NotFoundError, match="environment"):
        where(environment_name="test-gone")
    until(lambda: app_id not in {one["app_id"] for one in stage.containers()}, 30, "its containers are gone")
    until(lambda: stage.cli("environment", "create", "test-gone").code == 0, 40, "its name is free again")
    assert stage.json("app", "list", "-e", "test-gone") == []
    stage.cli("environment", "delete", "test-gone", "-y", check=0)


def test_an_unknown_environment_is_said_at_once(stage, program):
    path = program("env_app.py", SOURCE)
    for words in (["run", "-e", "nowhere", path + "::where"], ["deploy", "-e", "nowhere", path],
                  ["app", "list", "-e", "nowhere"], ["environment", "delete", "nowhere", "-y"],
                  ["environment", "update", "nowhere", "--set-name", "x"]):  # fmt: skip
        assert "no environment 'nowhere'" in stage.cli(*words, check=1).err
    assert "no environment 'nowhere'" in stage.cli("run", path + "::where", check=1, WINDLASS_ENVIRONMENT="nowhere").err


def test_what_create_prints_for_a_program_names_the_environment_that_was_named(stage, dev):
    for noun, *more in (["volume"], ["nfs"], ["secret", "A=1"]):
        said = stage.cli(noun, "create", "test-said", *more, "-e", dev, check=0).out
        assert f'from_name("test-said", environment_name="{dev}")' in said


def test_environments_are_renamed_and_wrong_names_refused(stage, dev):
    stage.cli("environment", "update", dev, "--set-name", "test-dev-2", "--set-web-suffix", "d2", check=0)
    listed = {row["name"]: row for row in stage.json("environment", "list")}
    assert dev not in listed and listed["test-dev-2"]["web_suffix"] == "d2"
    stage.cli("environment", "update", "test-dev-2", check=2)
    assert "already" in stage.cli("environment", "update", "test-dev-2", "--set-name", "main", check=1).err
    assert "already" in stage.cli("environment", "create", "main", check=1).err
    for wrong in ("en-x", "a.b", "_x"):
        stage.cli("environment", "create", wrong, check=1)
    stage.cli("environment", "update", "test-dev-2", "--set-name", dev, check=0)


def test_programs_make_look_up_list_and_delete_environments(stage):
    made = windlass.Environment.from_name("test-sdk", create_if_missing=True)
    assert made.hydrate() is made and made.object_id.startswith("en-")
    assert windlass.Environment.from_name("test-sdk").hydrate().object_id == made.object_id
    assert windlass.Environment.from_context().hydrate().name == "main"
    with pytest.raises(windlass.exception.AlreadyExistsError):
        windlass.Environment.objects.create("test-sdk")
    windlass.Environment.objects.create("test-sdk", allow_existing=True)
    assert {"main", "test-sdk"} <= {one.name for one in windlass.Environment.objects.list()}
    windlass.Environment.objects.delete("test-sdk")
    windlass.Environment.objects.delete("test-sdk", allow_missing=True)
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.Environment.objects.delete("test-sdk")
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.Environment.from_name("test-sdk").hydrate()
    with pytest.raises(windlass.exception.InvalidError):
        windlass.Environment.from_name("no/name")
