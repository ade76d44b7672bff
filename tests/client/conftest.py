"""A function handle that is connected to a pretended platform."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pretend
from windlass import function
from windlass.client import bridge, session
from windlass.client import object as objects


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], pretend.Platform]]:
    """Start a platform that computes a Python function; the client of this test talks to it."""
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    started = []

    def start(run: Any) -> pretend.Platform:
        one = pretend.Platform(tmp_path, run)
        started.append(one.__enter__())
        return one

    monkeypatch.setattr(session, "_current", None)
    yield start
    if session._current is not None:
        asyncio.run_coroutine_threadsafe(session._current.close(), bridge.library().loop).result()
    for one in started:
        one.__exit__()


@pytest.fixture
def handle() -> function.Function[..., Any, Any]:
    """A hydrated function."""
    made = objects.restore(
        function.Function, "fu-0123456789012345678901", {"tag": "f", "app_id": "ap-1", "is_generator": False}
    )
    assert isinstance(made, function.Function)
    return made
