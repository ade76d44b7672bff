"""What sandboxes ask for and how they end."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import sandboxes

SPEC = {
    "command": ["true"], "image_id": "im-x", "mounts": [], "secrets": [], "cpu_request": 0.0, "cpu_limit": 0.0,
    "memory_request": 0, "memory_limit": 0, "timeout": 10.0, "block_network": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "idle_since", "execs", "idle_timeout", "why"),
    [
        (9.9, 0.0, 0, 0.0, ""),
        (10.0, 9.0, 3, 0.0, "timeout"),
        (5.0, 0.0, 0, 5.0, "idle"),
        (5.0, 0.0, 1, 5.0, ""),
        (5.0, 1.0, 0, 5.0, ""),
        (10.0, 0.0, 0, 5.0, "timeout"),
    ],
)
def test_a_sandbox_ends_by_its_time_or_by_idleness(now, idle_since, execs, idle_timeout, why):
    assert sandboxes.overdue({**SPEC, "idle_timeout": idle_timeout}, 0.0, idle_since, execs, now) == why


@pytest.mark.parametrize(
    ("why", "exit", "code", "told"),
    [
        ("timeout", {"reason": "stopped"}, 124, "timeout"),
        ("terminated", {"reason": "signal", "exit_code": 137}, 137, "terminated"),
        ("", {"reason": "exited", "exit_code": 3}, 3, ""),
        ("", {"reason": "signal", "exit_code": 139, "signal": 11}, 139, ""),
        ("", {"reason": "oom", "exit_code": 137, "memory_limit": 5}, 137, ""),
        ("", {"reason": "start_failed", "message": "no such program"}, 137, "failed"),
        ("", {"reason": "lost"}, 137, "lost"),
    ],
)
def test_how_a_sandbox_ended_is_told(why, exit, code, told):
    assert sandboxes.ending(why, exit)[:2] == (code, told)


def test_what_a_command_had_printed_is_not_why_somebody_ended_it():
    exit = {"reason": "signal", "exit_code": 137, "message": "the end of its output"}
    assert sandboxes.ending("terminated", exit)[2] == ""
    assert sandboxes.ending("", exit)[2] == "the end of its output"


@pytest.mark.parametrize(
    "change", [{"timeout": 0.0}, {"timeout": 86401.0}, {"idle_timeout": -1.0}, {"command": ["x" * 65537]}]
)
def test_what_no_client_of_ours_sends_is_refused(change):
    with pytest.raises(exception.InvalidError):
        sandboxes.check({**SPEC, **change}, "", {})


def test_one_that_asked_for_no_memory_is_promised_little():
    assert sandboxes.container(SPEC)["memory_request"] == sandboxes.MEMORY
    assert sandboxes.container({**SPEC, "memory_request": 512})["memory_request"] == 512


def test_the_log_tells_of_commands_and_of_the_first_piece_of_a_file():
    assert sandboxes.said("sandbox.exec", {"command": ["echo", "two words"]}) == "exec: echo 'two words'"
    assert sandboxes.said("sandbox.file", {"op": "write", "path": "/x", "offset": 0}) == "file: write /x"
    assert sandboxes.said("sandbox.file", {"op": "write", "path": "/x", "offset": 9}) == ""
    assert sandboxes.said("sandbox.exec_read", {}) == ""


def test_figures_count_by_why_and_spread_the_starts():
    states = sandboxes.moves.SandboxState
    living = [states.RUNNING, states.QUEUED, states.STARTING]
    found = sandboxes.figures(7, {"": 2, "idle": 1, "timeout": 1, "lost": 3, "terminated": 4}, [3.0, 1.0, 2.0], living)
    assert found == {
        "created": 7, "ended": 11, "timeouts": 2, "terminated": 4, "failed": 3, "waiting": 2, "running": 1,
        "start": {"p50": 2.0, "p99": 3.0},
    }  # fmt: skip
    assert sandboxes.figures(0, {}, [], [])["start"] == {"p50": None, "p99": None}
