"""Memory snapshots: containers forked from a template are like all others, and nothing of one is in another."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import leftovers
from programs import snapshots
from stage import until
from windlass.worker.snapshots import spare

WALLS = ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NOTE = "started without a memory snapshot:"
REASONS = {
    "threads": "1 other threads are running: restless",
    "socket": "an open socket cannot be forked",
    "file": "/root/notes is open for writing",
    "process": "1 other processes are running",
    "memory": "memory that can be written is shared",
    "names": "shared memory would be shared",
    "failure": "making it failed: RuntimeError: not here",
}


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with snapshots.app.run():
        yield


@pytest.fixture(scope="module")
def two(running) -> list[dict[str, Any]]:
    return [snapshots.Warm().look.remote(), snapshots.Warm().look.remote()]


def logs(stage) -> str:
    return stage.cli("app", "logs", stage.app_id("test-snapshots"), "--since", "1h", check=0).text


def test_hooks_of_before_the_snapshot_run_once_and_the_others_in_each_container(two):
    one, other = two
    assert one["warmed_at"] == other["warmed_at"]
    assert one["woken_at"] < other["woken_at"] < other["warmed_at"] + 60
    assert one["task"] != other["task"]
    assert [found["woken_by"] for found in two] == [found["task"] for found in two]


def test_each_fork_has_fresh_namespaces(two):
    one, other = two
    for kind in ("pid", "mnt", "ipc", "uts", "net"):
        assert len({found["namespaces"][kind] for found in (one, other, one["template"])}) == 3, kind
    assert one["namespaces"]["user"] != one["template"]["namespaces"]["user"]
    for found in two:
        assert 1 in found["pids"] and len(found["pids"]) == 2
        assert found["pid"] != found["template"]["pids"][-1]


def test_the_walls_of_forks_and_templates_are_those_of_any_container(two):
    plain = snapshots.cold.remote()
    for found in (*two, two[0]["template"]):
        assert {name: found["status"][name] for name in WALLS} == {name: plain["status"][name] for name in WALLS}
        assert found["uid"] == plain["uid"] == 0
        assert found["root"] == sorted({*plain["root"]})
        assert found["uid_map"][2] == plain["uid_map"][2]
    targets = [sorted(line.split()[4] for line in found["mounts"].splitlines()) for found in (two[0], plain)]
    assert targets[0] == targets[1]
    assert {line.split()[4]: line.split()[5].split(",")[0] for line in two[0]["mounts"].splitlines()} == {
        line.split()[4]: line.split()[5].split(",")[0] for line in plain["mounts"].splitlines()
    }


def test_code_inside_cannot_change_namespaces_neither_before_nor_after_the_fork(two):
    for found in two:
        for tried in (found["template_attempts"], found["attempts"]):
            assert set(tried.values()) <= {errno.EPERM, errno.ENOSYS}, tried


def test_everything_random_differs(running):
    one, other = snapshots.Warm().draw.remote(), snapshots.Warm().draw.remote()
    assert [name for name in one if one[name] == other[name]] == []


def test_numbers_of_numpy_differ_in_forks_of_one_import():
    with snapshots.numeric.run():
        (one, importer), (other, again) = snapshots.number.remote(), snapshots.number.remote()
    assert importer == again and str(importer).startswith("te-")
    assert one != other


def test_clocks_go_on(two):
    one, other = two
    assert one["now"] < other["now"] and one["monotonic"] < other["monotonic"]


def test_hostname_address_and_names_are_its_own(two):
    for found in two:
        assert found["hostname"] == found["task"] and found["task"] in found["hosts"]
        assert found["environment"]["WINDLASS_TASK_ID"] == found["task"]
        own = found["hosts"].splitlines()[-1].split()[0]
        assert own in found["address"]
    assert len({found["hosts"].splitlines()[-1].split()[0] for found in two}) == 2


def test_the_template_has_no_token_and_leaves_nothing_in_the_environment(two):
    assert two[0]["template_plan"]["token"] == ""
    for found in two:
        assert two[0]["template_plan"]["container_id"] not in str(found["environment"])


def test_limits_are_the_containers_own(two, stage):
    for found in two:
        assert found["task"] in found["cgroup"]


def test_a_file_that_is_read_goes_on_at_its_place_in_each_fork(two):
    assert [found["read"] for found in two] == ["befor", "befor"]
    assert all(found["reads"] == "/root/weights" for found in two)


def test_a_fork_holds_its_own_descriptors_only(two):
    kinds = [sorted(re.sub(r"\d+", "N", name) for name in found["descriptors"]) for found in two]
    assert kinds[0] == kinds[1] == sorted(
        ["/dev/null", "/root/weights", *["pipe:[N]"] * 7, "socket:[N]"]
    )


def test_the_main_thread_is_the_main_thread(two):
    assert all(found["main"] and found["ident"] for found in two)


def test_output_is_in_the_log_of_its_container_and_that_of_before_is_there_once(two, stage):
    def whole() -> str:
        text = logs(stage)
        left = all(f"left {found['task']}" in text for found in two)
        return text if left and text.count("the exit of a fork") >= 2 else ""

    text = until(whole, what="both forks to their ends in the log")
    assert text.count("warming up") == 1
    for line in ("looking", "complaining", "a child speaks"):
        assert text.count(line) == 2, line


@pytest.mark.parametrize("why", REASONS)
def test_what_cannot_be_forked_starts_cold_and_the_log_says_why_once(why, stage):
    before = [line for line in logs(stage).splitlines() if NOTE in line]
    bound = snapshots.Bound(why=why)
    assert all(task.startswith("ta-") for task in (bound.where.remote(), bound.where.remote()))
    told = until(lambda: [line for line in logs(stage).splitlines() if NOTE in line][len(before) :])
    assert len(told) == 1 and REASONS[why] in told[0], told


def test_a_killed_worker_disturbs_no_fork_and_templates_are_made_anew(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(6)
    container, _ = _new_fork(stage, before)
    stage.kill("worker")
    assert call.get(timeout=60) == container
    assert snapshots.Warm().wait.remote(0).startswith("ta-")


def test_a_killed_template_takes_nobody_along(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(5)
    container, _ = _new_fork(stage, before)
    for pid in _templates(stage):
        os.kill(pid, signal.SIGKILL)
    assert call.get(timeout=60) == container
    assert snapshots.Warm().wait.remote(0).startswith("ta-")


def test_inputs_survive_the_end_of_the_whole_family(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(3)
    container, _ = _new_fork(stage, before)
    for pid in _keepers(stage):
        with contextlib.suppress(ProcessLookupError):  # some are children of others and die with them
            os.kill(pid, signal.SIGKILL)
    assert call.get(timeout=90) != container


def test_a_killed_fork_is_a_crash_that_is_tried_again(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(3)
    container, pid = _new_fork(stage, before)
    os.kill(pid, signal.SIGKILL)
    assert call.get(timeout=60) not in ("", container)


def test_templates_go_with_their_app(stage):
    with snapshots.spare.run():
        assert snapshots.passing.remote().startswith("ta-")
        made = until(lambda: _families(stage, "test-snapshots-spare"), what="a template")
    until(lambda: not any(path.exists() for path in made), 30, "the template is gone")


def test_a_template_that_was_used_once_has_forks_for_a_first_burst_and_gives_them_back_with_its_end(stage):
    with snapshots.spare.run():
        assert snapshots.passing.remote().startswith("ta-")
        (made,) = until(lambda: _families(stage, "test-snapshots-spare"), what="a template")
        # What waits at least would be two: these are made when the machine has a moment.
        cells, idle = [], 0.0
        processors, deadline = spare.Processors(), time.monotonic() + 60
        while len(cells) < 5 and time.monotonic() < deadline:
            time.sleep(0.2)
            idle += processors.idle() > 0.6
            cells = [*(made / "cells").iterdir()]
        if len(cells) < 5 and idle < 20:
            pytest.skip("the machine has no time to spare")
        assert len(cells) >= 5
        # Not by rglob, which fails where a group of anybody goes away under it.
        names = {cell.name for cell in cells}
        groups = [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name in names]
        assert groups
    until(lambda: not made.exists() and not any(group.exists() for group in groups), 30, "nothing of them is left")


def test_commands_run_inside_a_fork_with_its_walls(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(100)
    container, _ = _new_fork(stage, before)
    until(lambda: "waiting 100" in logs(stage), what="it runs")
    command = "hostname; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/cgroup; unshare -U true"
    done = stage.cli("container", "exec", container, "--", "sh", "-c", command)
    assert done.out.startswith(container) and "Seccomp:\t2" in done.out and "NoNewPrivs:\t1" in done.out, done.text
    assert "00000000000405fb" in done.out.lower() and f"/{container}" in done.out
    assert done.code != 0 and "not permitted" in done.text
    assert stage.cli("container", "exec", container, "--", "sh", "-c", "exit 7").code == 7
    look = "cd /; python3 -c 'import modal; print(modal.__name__)'"
    assert stage.cli("container", "exec", container, "--", "sh", "-c", look, check=0).out == "windlass\n"
    call.cancel()


def test_a_call_to_a_fork_can_be_cancelled(stage):
    before = set(_forks(stage))
    call = snapshots.Warm().wait.spawn(61)
    container, _ = _new_fork(stage, before)
    until(lambda: "waiting 61" in logs(stage), what="it runs")
    call.cancel()
    until(lambda: container not in _forks(stage), 40, "the fork is gone")


def _forks(stage) -> dict[str, int]:
    """Processes of user code by container."""
    return {name: pid for pid, name in stage.payloads().items()}


def _new_fork(stage, before: set[str]) -> tuple[str, int]:
    """The fork that serves since ``before``, and its process."""
    return until(lambda: next((pair for pair in _forks(stage).items() if pair[0] not in before), None), what="a fork")


def _templates(stage) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                runs = b"windlass/runner/boot.py" in (entry / "cmdline").read_bytes()
                groups = (entry / "cgroup").read_text() if runs else ""
                inner = re.search(r"NSpid:\s+(.*)", (entry / "status").read_text())
            except OSError:
                continue
            ours = re.search(rf"windlass-{leftovers.tag(stage.home)}/te-\w+", groups)
            levels = inner.group(1).split() if inner else []
            # Levels are those of the host, the node and the family; forks have one more.
            if ours and len(levels) == 3 and levels[-1] != "1":
                found.append(int(entry.name))
    return found


def _families(stage, app: str) -> list[Path]:
    """Folders of the templates that serve an app."""
    found = []
    for plan in (stage.home / "families").glob("*/plan.json"):
        with contextlib.suppress(FileNotFoundError):  # that of another app has gone meanwhile
            if f'"app_name": "{app}"' in plan.read_text():
                found.append(plan.parent)
    return found


def _keepers(stage) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"snapshots.keeper" in (entry / "cmdline").read_bytes() and leftovers.tag(stage.home) in (
                    entry / "cgroup"
                ).read_text():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found




def test_forks_take_inputs_side_by_side(stage):
    found = list(snapshots.crowded.map(range(4)))
    assert [one["number"] for one in found] == [0, 1, 2, 3]
    assert all(one["imported_by"] != one["task"] for one in found)
    until(lambda: all(f"crowded {number}" in logs(stage) for number in range(4)), what="what they printed")


def test_forks_take_batches():
    found = list(snapshots.batches.map(range(3)))
    assert [one["number"] for one in found] == [0, 1, 2]
    assert all(one["imported_by"] != one["task"] for one in found)
