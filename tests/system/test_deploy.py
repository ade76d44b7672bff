"""Deployed apps: published whole, replaced without a failed call, brought back, alive without anybody."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
import time

import pytest

import windlass
from stage import until

SOURCE = """
import modal

app = modal.App("{name}")

@app.function()
def number():
    print("number was asked")
    return {value}

@app.function()
def through():
    return number.remote() + 1000
"""


@pytest.fixture
def deploy(stage, program):
    """``deploy(name, value)`` writes the program anew and deploys it."""

    def deploy(name: str, value: object, *options: str, code: int = 0):
        path = program(f"{name.replace('-', '_')}.py", SOURCE.format(name=name, value=value))
        return stage.cli("deploy", *options, path, check=code)

    return deploy


def ask(name: str, function: str = "number", **more):
    return windlass.Function.from_name(name, function, **more).remote()


def reaches(name: str, value: object) -> None:
    until(lambda: ask(name) == value, 30, f"{name} answers {value}")


def serialized(name: str, value: object, **options) -> windlass.App:
    app = windlass.App(name)

    @app.function(serialized=True, name="number", **options)
    def number():
        return value

    return app


def info(stage, name: str) -> dict:
    return stage.json("app", "info", name)


def test_a_deployed_app_is_called_by_name_and_published_again_only_when_it_changes(stage, deploy):
    assert "version 1" in deploy("dep-first", 1).out
    assert (ask("dep-first"), ask("dep-first", "through")) == (1, 1001)
    before = info(stage, "dep-first")
    again = deploy("dep-first", 1)
    assert "skipped" in again.out and "version 1" in again.out
    assert "version 2" in deploy("dep-first", 2, "--tag", "two").out
    reaches("dep-first", 2)
    after = info(stage, "dep-first")
    assert after["functions"] == before["functions"] and after["app_id"] == before["app_id"]
    two, one = stage.json("app", "history", "dep-first")
    assert (two["version"], one["version"], two["tag"], one["tag"]) == ("v2", "v1", "two", "")
    assert two["client"] == windlass.__version__ and two["deployed_by"]
    assert "number was asked" in stage.cli("app", "logs", "dep-first", check=0).out


def test_the_history_knows_the_commit(stage, program, tmp_path):
    path = program("committed.py", SOURCE.format(name="dep-commit", value=1))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    stage.cli("deploy", path, check=0)
    program("committed.py", SOURCE.format(name="dep-commit", value=2))
    stage.cli("deploy", path, check=0)
    dirty, clean = stage.json("app", "history", "dep-commit")
    assert re.fullmatch(r"[0-9a-f]{7}", clean["commit"]) and dirty["commit"] == clean["commit"] + "*"


def test_no_call_fails_while_a_loaded_app_is_deployed_ten_times(stage):
    serialized("dep-load", 0).deploy()
    handle = windlass.Function.from_name("dep-load", "number")
    assert handle.remote() == 0
    failures, seen, over = [], [], threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                seen.append(handle.remote())
            except Exception as exc:
                failures.append(exc)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for value in range(1, 11):
            serialized("dep-load", value).deploy()
            until(lambda value=value: value in seen[-20:], 30, f"version {value} answers")
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert not failures
    assert set(seen) == set(range(11)) and len(seen) > 100
    assert len(stage.json("app", "history", "dep-load")) == 11


def test_two_that_deploy_one_name_at_once_make_one_app(stage):
    failures = []

    def deploy(value: int) -> None:
        try:
            serialized("dep-race", value).deploy()
        except Exception as exc:
            failures.append(exc)

    deployers = [threading.Thread(target=deploy, args=(value,)) for value in range(2)]
    for one in deployers:
        one.start()
    for one in deployers:
        one.join()
    assert not failures and len(stage.apps("dep-race")) == 1
    assert [one["version"] for one in stage.json("app", "history", "dep-race")] == ["v2", "v1"]
    assert ask("dep-race") in (0, 1)


def test_a_build_that_fails_changes_nothing(stage):
    broken = windlass.App("dep-broken", image=windlass.Image.debian_slim().run_commands("exit 3"))
    broken.function(serialized=True, name="number")(lambda: 2)
    with pytest.raises(windlass.exception.ImageBuildError):
        broken.deploy()
    assert stage.cli("app", "info", "dep-broken").code == 1
    serialized("dep-broken", 1).deploy()
    assert ask("dep-broken") == 1
    before = info(stage, "dep-broken")
    with pytest.raises(windlass.exception.ImageBuildError):
        broken.deploy()
    assert info(stage, "dep-broken") == before and ask("dep-broken") == 1


def test_a_rollback_publishes_the_old_version_as_a_new_one(stage, deploy):
    for value in (1, 2, 3):
        deploy("dep-back", value)
    reaches("dep-back", 3)
    assert "version 4" in stage.cli("app", "rollback", "dep-back", check=0).out
    reaches("dep-back", 2)
    assert "version 5" in stage.cli("app", "rollback", "dep-back", "v1", "--strategy", "recreate", check=0).out
    assert ask("dep-back") == 1, "with recreate the old ones are gone"
    assert "version 6" in stage.cli("app", "rollover", "dep-back", check=0).out
    assert [one["version"] for one in stage.json("app", "history", "dep-back")] == [f"v{n}" for n in range(6, 0, -1)]
    for wrong, code, text in (("v77", 1, "no version 77"), ("v6", 1, "current"), ("latest", 2, "version")):
        ran = stage.cli("app", "rollback", "dep-back", wrong, check=code)
        assert text in ran.err
    stage.cli("app", "rollback", "no-such-app", check=1)


def test_a_removed_function_is_gone_and_what_stays_goes_on(stage, deploy, program):
    deploy("dep-less", 1)
    assert ask("dep-less", "through") == 1001
    handle = windlass.Function.from_name("dep-less", "through")
    handle.hydrate()
    less = SOURCE.format(name="dep-less", value=1).partition("@app.function()\ndef through")[0]
    stage.cli("deploy", program("dep_less.py", less), check=0)
    assert list(info(stage, "dep-less")["functions"]) == ["number"] and ask("dep-less") == 1
    with pytest.raises(windlass.exception.NotFoundError, match="removed"):
        handle.remote()
    with pytest.raises(windlass.exception.NotFoundError, match="through"):
        ask("dep-less", "through")


def test_recreate_runs_what_was_running_again_on_the_new_version(stage):
    def app(value: str) -> windlass.App:
        made = windlass.App("dep-recreate")

        @made.function(serialized=True, name="work", max_containers=1)
        def work():
            import time

            if value == "old":
                time.sleep(60)
            return value

        return made

    app("old").deploy()
    handle = windlass.Function.from_name("dep-recreate", "work")
    call = handle.spawn()
    until(lambda: handle.get_current_stats().num_running_inputs == 1, 30, "it runs")
    began = time.monotonic()
    app("new").deploy(strategy="recreate")
    assert call.get(timeout=30) == "new" and time.monotonic() - began < 30


def test_a_version_can_be_asked_for_and_then_calls_its_own_kind(deploy):
    deploy("dep-pin", 1)
    deploy("dep-pin", 2)
    reaches("dep-pin", 2)
    assert ask("dep-pin", version=1) == 1 and ask("dep-pin", "through", version=1) == 1001
    with pytest.raises(windlass.exception.NotFoundError, match="version 9"):
        ask("dep-pin", version=9)
    with pytest.raises(windlass.exception.InvalidError):
        windlass.Function.from_name("dep-pin", "number", version="v1")


def test_an_app_deployed_under_another_name_works_like_itself(stage, deploy):
    assert "dep-alias" in deploy("dep-own", 5, "--name", "dep-alias").out
    assert ask("dep-alias", "through") == 1005
    with pytest.raises(windlass.exception.NotFoundError):
        ask("dep-own")


def test_the_minimum_stands_also_after_the_platform_was_stopped_and_started(stage):
    serialized("dep-kept", 7, min_containers=1).deploy()

    def ready() -> list[str]:
        app_id = info(stage, "dep-kept")["app_id"]
        return [c["container_id"] for c in stage.containers(app_id) if c["start_time"] != "Pending"]

    (first,) = until(ready, 30, "one is warm before anybody calls")
    serialized("dep-kept", 8, min_containers=1).deploy()
    until(lambda: ready() and first not in ready(), 30, "the new version has its own")
    stage.stop()
    stage.start()
    until(lambda: len(ready()) == 1, 40, "it is kept warm again")
    assert ask("dep-kept") == 8
    assert info(stage, "dep-kept")["version"] == 2


def test_a_server_killed_in_the_middle_of_a_deployment_leaves_the_old_version_or_the_new_one(stage, program):
    serialized("dep-killed", 1).deploy()
    assert ask("dep-killed") == 1
    source = """
import modal
image = modal.Image.debian_slim().run_commands("sleep 8 && echo {mark}")
app = modal.App("dep-killed", image=image)

@app.function()
def number():
    return 2
"""
    path = program("dep_killed.py", source.format(mark=time.time()))
    with stage.background("deploy", path) as process:
        assert any("sleep 8" in line for line in iter(process.stdout.readline, "")), "its image is being built"
        stage.kill("server")
        assert ask("dep-killed") in (1, 2)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "version 2" in output
    reaches("dep-killed", 2)
    assert [one["version"] for one in stage.json("app", "history", "dep-killed")] == ["v2", "v1"]


def test_logs_can_be_followed_after_a_deployment_and_the_app_outlives_that(stage, program):
    path = program("dep_logs.py", SOURCE.format(name="dep-logs", value=1))
    with stage.background("deploy", "--stream-logs", path) as process:
        until(lambda: stage.apps("dep-logs"), 30, "it is deployed")
        assert until(lambda: _found("dep-logs"), 30) == 1
        lines = iter(process.stdout.readline, "")
        assert any("number was asked" in line for line in lines)
    assert ask("dep-logs") == 1


def _found(name: str):
    try:
        return ask(name)
    except windlass.exception.NotFoundError:
        return None


def test_apps_are_looked_up_tagged_and_stopped(stage):
    made = windlass.App.lookup("dep-lookup", create_if_missing=True)
    assert windlass.App.lookup("dep-lookup", create_if_missing=True).app_id == made.app_id
    app = serialized("dep-lookup", 1)
    assert app.deploy() is app and app.app_id == made.app_id
    app.set_tags({"team": "blue"})
    assert windlass.App.lookup("dep-lookup").get_tags() == {"team": "blue"}
    assert windlass.App.lookup(app.app_id).name == "dep-lookup"
    asyncio.run(serialized("dep-lookup", 3).deploy.aio())
    about = app.info()
    assert (about.lifecycle.state, about.version, about.environment, list(about.functions)) == (
        "deployed", 2, "main", ["number"],
    )  # fmt: skip
    app.stop()
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.App.lookup("dep-lookup")
    with pytest.raises(windlass.exception.NotFoundError):
        ask("dep-lookup")
    fresh = serialized("dep-lookup", 2)
    fresh.deploy()
    assert fresh.app_id != app.app_id and ask("dep-lookup") == 2
    with pytest.raises(windlass.exception.InvalidError):
        windlass.App.lookup(app.app_id, create_if_missing=True)


def test_what_cannot_be_deployed_is_refused_before_anything_happens(stage, program):
    app = windlass.App()
    with pytest.raises(windlass.exception.InvalidError, match="name"):
        app.deploy()
    for wrong in ({"strategy": "sideways"}, {"name": "a/b"}, {"tag": "a b"}, {"environment_name": "-x"}):
        with pytest.raises(windlass.exception.InvalidError):
            serialized("dep-refused", 1).deploy(**wrong)
    with pytest.raises(windlass.exception.NotFoundError, match="environment"):
        serialized("dep-refused", 1).deploy(environment_name="nowhere")
    nameless = program("nameless.py", "import modal\napp = modal.App()\n")
    assert "without a name" in stage.cli("deploy", nameless, check=1).err
    stage.cli("deploy", "--name", "dep-empty", nameless, check=0)
    early = program("early_deploy.py", 'import modal\napp = modal.App("dep-early")\napp.deploy()\n')
    assert "imported" in stage.cli("deploy", early, check=1).err
    other = program("other_name.py", 'import modal\nshop = modal.App("dep-a")\nbar = modal.App("dep-b")\n')
    assert "other_name.py::" in stage.cli("deploy", other, check=1).err
    assert "not an app" in stage.cli("deploy", other + "::modal", check=1).err
    assert "single ':'" in stage.cli("deploy", other + ":shop", check=1).err
    assert "-m pack.age" in stage.cli("deploy", "pack.age", check=1).err
    stage.cli("deploy", other, "--strategy", "sideways", check=2)
    assert not [a for name in ("dep-refused", "dep-early", "dep-a") for a in stage.apps(name)]


CLASS = """
import modal

app = modal.App("dep-class")

@app.cls(scaledown_window=60)
class Model:
    size: str = modal.parameter()
    {more}

    @modal.enter()
    def start(self):
        self.mark = "{mark}"

    @modal.method()
    def about(self, n):
        return self.mark, self.size, n

    @modal.method()
    def other(self):
        return Model(size="inner").about.remote(0)
"""


def test_all_pools_of_a_deployed_class_answer_with_the_code_of_the_new_version(stage, program):
    def deploy(mark: str, more: str = "") -> str:
        return stage.cli("deploy", program("dep_class.py", CLASS.format(mark=mark, more=more)), check=0).out

    assert "version 1" in deploy("one")
    found = windlass.Cls.from_name("dep-class", "Model")
    objects = [found(size="a"), found(size="b"), found.with_options(timeout=77)(size="a")]
    assert [made.about.remote(1) for made in objects] == [("one", "a", 1), ("one", "b", 1), ("one", "a", 1)]
    assert objects[0].other.remote() == ("one", "inner", 0)
    before = info(stage, "dep-class")
    assert "skipped" in deploy("one") and "version 2" in deploy("two")
    for made, size in zip(objects, "aba", strict=True):
        until(lambda made=made, size=size: made.about.remote(2) == ("two", size, 2), 30, f"the new code for {size}")
    until(lambda: objects[0].other.remote() == ("two", "inner", 0), 30, "the new code inside")
    assert info(stage, "dep-class")["functions"] == before["functions"]
    assert list(windlass.Cls.from_name("dep-class", "Model")(size="a").about.map([1, 2])) == [
        ("two", "a", 1), ("two", "a", 2),
    ]  # fmt: skip
    old = windlass.Cls.from_name("dep-class", "Model", version=1)(size="a")
    assert old.about.remote(3) == ("one", "a", 3) and old.other.remote() == ("one", "inner", 0)
    stage.stop()
    stage.start()
    assert objects[1].about.remote(4) == ("two", "b", 4)
    assert "version 3" in deploy("three", "colour: int = modal.parameter()")
    with pytest.raises(windlass.exception.NotFoundError, match="other parameters"):
        objects[0].about.remote(5)
    with pytest.raises(windlass.exception.ParameterError):
        windlass.Cls.from_name("dep-class", "Model")(size="a").about.remote(5)
    fresh = windlass.Cls.from_name("dep-class", "Model")(size="a", colour=1)
    assert fresh.about.remote(5) == ("three", "a", 5)
    stage.cli("app", "rollback", "dep-class", check=0)
    until(lambda: objects[0].about.remote(6) == ("two", "a", 6), 30, "the old pool is back")
