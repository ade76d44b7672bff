"""Keys and readable lines of build steps. Pure."""

from __future__ import annotations

from typing import Any

from windlass.server.decide import images


def function(**changes: Any) -> Any:
    code = {"module": "m", "qualname": "f", "definition": "file", "python": "3.11", "serialized": None,
            "arguments": None, "mounts": ["sha256:1"]}  # fmt: skip
    return {"op": "function", "function": code, "fingerprint": "1", "cpu": [1.0, 0.0], "timeout": 60.0, **changes}


def test_how_a_function_gets_into_its_step_is_no_content_and_what_it_is_known_by_is() -> None:
    key = images.key("im-1", function(), [])
    moved = {**function()["function"], "mounts": ["sha256:2"], "python": "3.12"}
    assert images.key("im-1", function(function=moved, timeout=1.0, line="Dockerfile, line 1"), []) == key
    others = [function(fingerprint="2"), function(cpu=[2.0, 0.0]), function(memory=[128, 0]), function(env={"A": "1"})]
    assert len({key, images.key("im-1", function(), ["S"]), *(images.key("im-1", one, []) for one in others)}) == 6


def test_steps_are_shown_as_what_they_do() -> None:
    assert images.command(function()) == "run_function f"
    assert images.command({"op": "function"}) == "run_function "
    assert images.command({"op": "uv_sync", "options": ["--frozen"]}) == "uv sync --frozen"
    assert images.command({"op": "private_pip", "packages": ["github.com/a/b"]}) == "pip install github.com/a/b"
