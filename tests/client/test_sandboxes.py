"""What is asked of sandboxes, checked before anybody is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import windlass
from windlass import exception
from windlass.client import sandboxes
from windlass.sandbox import handle


@pytest.mark.parametrize("half", ["\ud800", "caf\udce9"])
def test_half_characters_are_refused_and_not_changed_into_something_else(half):
    attempts: list[Callable[[], Any]] = [
        lambda: sandboxes.words(["echo", half], "Sandbox.exec()"),
        lambda: sandboxes.folder(f"/{half}"),
        lambda: sandboxes.path(f"/{half}"),
        lambda: sandboxes.check_tags({"tag": half}),
        lambda: sandboxes.check_tags({half: "tag"}),
    ]
    for attempt in attempts:
        with pytest.raises(exception.InvalidError, match="UTF-8"):
            attempt()


@pytest.mark.parametrize("path", ["etc", "", "/a\0b", 3, None])
def test_a_path_is_absolute_and_one_that_can_be(path):
    with pytest.raises(exception.InvalidError):
        sandboxes.path(path)


@pytest.mark.parametrize("seconds", [0, -1, True, "3", None, float("nan"), float("inf")])
def test_a_time_is_a_positive_number(seconds):
    with pytest.raises(exception.InvalidError, match="timeout must be a positive number of seconds"):
        handle.seconds("timeout", seconds)
    assert handle.seconds("timeout", 3) == 3.0


def test_what_fits_is_counted_in_bytes():
    assert sandboxes.words(["ä" * 32768], "exec")
    with pytest.raises(exception.InvalidError, match="65,537 bytes"):
        sandboxes.words(["ä" * 32768, "x"], "exec")


@pytest.mark.parametrize("argv", [(), ("",), ("a\0b",), ("x" * 65537,), (3,)])
def test_a_probe_has_a_command_that_could_run(argv):
    with pytest.raises(exception.InvalidError):
        windlass.Probe.with_exec(*argv)
