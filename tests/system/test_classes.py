"""Classes in real containers: pools, hooks, methods of each form, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

import windlass
from programs import classes
from stage import STOP_GRACE, TESTS, until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with classes.app.run():
        yield


def log(stage, text: str, seconds: float = 20.0) -> str:
    """The app's log, once ``text`` is in it."""

    def look() -> str:
        printed = stage.cli("app", "logs", classes.app.app_id, check=0).text
        return printed if text in printed else ""

    return until(look, seconds, f"{text!r} in the log")


def test_one_instance_serves_its_methods_after_its_hooks_ran_once():
    model = classes.Model(name="one")
    first = model.seen.remote()
    assert first[:2] == (["base", "model"], 1)
    assert model.seen.remote() == (["base", "model"], 1, first[2] + 1)
    assert model.add.remote(1, y=2) == 4


def test_equal_parameters_share_containers_and_others_have_their_own():
    one, same, two = classes.Model(name="a"), classes.Model(name="a", size=1), classes.Model(name="b")
    container = one.whoami.remote()[0]
    assert same.whoami.remote() == (container, "a")
    other = two.whoami.remote()
    assert other[1] == "b" and other[0] != container


def test_another_process_finds_the_same_pool(stage):
    container = classes.Model(name="shared").whoami.remote()[0]
    source = (
        "import sys, pickle; sys.path.insert(0, sys.argv[1])\n"
        "model = pickle.loads(bytes.fromhex(sys.argv[2]))\n"
        "print(model.whoami.remote()[0], model.add.remote(5))\n"
    )
    import pickle

    data = pickle.dumps(classes.Model(name="shared")).hex()
    done = subprocess.run(
        [sys.executable, "-c", source, str(TESTS), data],
        env=stage.environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [container, "6"]


def test_methods_of_each_form():
    model = classes.Model(size=3)
    assert list(model.count.remote_gen(3)) == [0, 1, 2]
    assert model.later.remote(5) == 15
    assert list(model.acount.remote_gen(3)) == [0, 3, 6]
    assert list(model.add.map(range(20))) == [x + 3 for x in range(20)]
    assert list(model.add.starmap([(1, 2), (3, 4)])) == [6, 10]
    call = model.later.spawn(2)
    assert call.get(timeout=30) == 6
    model.add.for_each(range(3))
    assert model.add.get_current_stats().num_total_runners >= 1


def test_inside_a_container_methods_run_elsewhere_or_in_the_process():
    here, other, local, sum_ = classes.Model(name="inside", size=7).elsewhere.remote()
    assert here == local != other and sum_ == 8


def test_objects_and_methods_travel():
    model = classes.Model(name="traveller")
    assert model.visit.remote(classes.Model(size=5).add, classes.Model(size=6)) == (6, 8)
    assert classes.uses_model.remote(4) == 14


def test_hooks_call_functions_and_methods_of_self_travel():
    assert classes.Caller().pass_on.remote() == 84


def test_what_the_instance_prints_at_its_end_is_in_the_log(stage):
    container = classes.Brief().get.remote()
    log(stage, f"left {container}", 25)
    until(lambda: classes.Brief().get.get_current_stats().num_total_runners == 0, 20, "scaled to zero")


def test_an_enter_hook_that_raises_fails_the_calls_with_its_traceback(stage):
    with pytest.raises(FileNotFoundError, match="no weights here"):
        classes.Raising().get.remote()
    assert "in prepare" in log(stage, "no weights here")


def test_enter_hooks_count_against_the_time_to_start(stage):
    call = classes.Slow().get.spawn()
    log(stage, "Slow.*: container killed: the container was not ready within startup_timeout=2 s", 30)
    call.cancel()


def test_option_variants_have_their_own_pool_and_share_it():
    base = classes.limits.remote()
    other = classes.limits.with_options(env={"MODE": "fast"}, timeout=77)
    first = other.remote()
    assert first[0] != base[0] and first[1:] == ("fast", 0.0)
    again = classes.limits.with_options(timeout=77).with_options(env={"MODE": "fast"})
    assert again.remote()[0] == first[0]
    wide = classes.Model.with_options(max_containers=1)(name="wide")
    assert len({wide.whoami.remote()[0] for _ in range(3)}) == 1
    assert wide.whoami.remote()[0] != classes.Model(name="wide").whoami.remote()[0]


def test_the_minimum_holds_for_each_set_that_is_used():
    warm = classes.Warm(n=3)
    assert warm.get.remote() == 3
    assert warm.update_autoscaler(min_containers=0, scaledown_window=2)["min_containers"] == 0
    until(lambda: warm.get.get_current_stats().num_total_runners == 0, 20, "gone")


def test_a_class_of_a_closure_is_shipped_pickled():
    assert classes.inner(x=2).get.remote() == 42


def test_the_wrong_way_to_call_says_so():
    model = classes.Model()
    with pytest.raises(AttributeError, match="instantiate"):
        classes.Model.add.remote(1)
    with pytest.raises(windlass.exception.InvalidError, match="generator"):
        model.count.remote(3)
    with pytest.raises(TypeError):
        model.add.remote()
    with pytest.raises(windlass.exception.InvalidError):
        classes.Model(name="x" * 17_000)


ENDING = """
import time
import modal

app = modal.App("ending")

@app.cls()
class Model:
    word: str = modal.parameter()
    loud: bool = modal.parameter(default=False)

    @modal.method()
    def say(self, times: int = 1):
        print("said", (self.word.upper() if self.loud else self.word) * times)
        return "fine"

    @modal.exit()
    def leave(self):
        time.sleep(0.5)
        print("left after the app was stopped")

@app.cls()
class Hanging:
    @modal.method()
    def get(self):
        print("hanging soon")

    @modal.exit()
    def leave(self):
        time.sleep(600)
"""


def test_the_command_line_runs_methods_with_the_parameters_of_their_class(stage, program):
    path = program("ending.py", ENDING)
    ran = stage.cli("run", f"{path}::Model.say", "--word", "ho", "--loud", "--times", "2", check=0)
    assert "said HOHO" in ran.text and "left after the app was stopped" in ran.text
    assert "said hey" in stage.cli("run", f"{path}::Model", "--word", "hey", check=0).text
    missing = stage.cli("run", f"{path}::Model.say", check=2)
    assert "--word" in missing.text
    several = stage.cli("run", path, check=1)
    assert "Hanging.get, Model.say" in several.text
    shown = stage.cli("run", f"{path}::Model.say", "--help", check=0)
    assert "--loud / --no-loud" in shown.text and "--times" in shown.text


def test_exit_hooks_that_hang_are_killed_after_the_grace_and_the_log_says_so(stage, program):
    path = program("hanging.py", ENDING.replace('"ending"', '"hanging"'))
    stage.cli("run", f"{path}::Hanging", check=0)
    app = stage.apps("hanging")[0]["app_id"]
    until(lambda: not stage.containers(app), 45, "killed")
    printed = stage.cli("app", "logs", app, check=0).text
    assert "hanging soon" in printed
    assert f"still running after {STOP_GRACE} s" in printed or "did not stop in time" in printed


def test_exit_hooks_run_when_a_container_is_preempted(stage):
    model = classes.Model(name="stopped")
    container = model.whoami.remote()[0]
    stage.cli("container", "stop", container, "-y", check=0)
    log(stage, "exit model stopped after 0")
    assert "exit base stopped" in log(stage, "exit base stopped")
    assert model.whoami.remote()[0] != container
