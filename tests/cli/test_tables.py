"""Lists on a terminal."""
from __future__ import annotations

from typing import Any

import pytest

from windlass.cli import tables


def test_an_id_stands_on_one_line_to_be_copied(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(tables, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    identity = "ap-SqQSmTJNKLJqulrf5u2l9B"
    row = [identity, "a description of some length", "2026-11-23T22:57:51+00:00", "2026-11-23T22:59:51+00:00"]
    tables.show(["App ID", "Description", "Created at", "Stopped at"], [row])
    shown = capsys.readouterr().out
    assert identity in shown and "T22:57" not in shown


@pytest.mark.parametrize(("room", "kept"), [(80, "Function"), (120, "Ended at"), (150, "Container ID"), (300, "CPU")])
def test_a_list_of_calls_is_read_on_any_terminal(room, kept, monkeypatch, capsys):
    from windlass.cli import words

    monkeypatch.setattr(tables, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(room))
    record: Any = {
        "call_id": "fc-SqQSmTJNKLJqulrf5u2l9B", "index": 0, "attempt": 1, "app_name": "example-hello-world",
        "function": "Embedder.embed", "status": "failure", "final": True, "ended_at": 1795647572.5,
        "queue_seconds": 0.0005, "start_seconds": 0.15, "run_seconds": 1.5, "cpu_seconds": None, "memory_peak": None,
        "container_id": "ta-SqQSmTJNKLJqulrf5u2l9B", "reason": "TypeError('not all arguments converted')",
    }  # fmt: skip
    words.show_records([record], as_json=False, apps=True)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= room for line in lines) and len(lines) < 12, "neither wrapped nor a letter a line"
    assert any(title.strip() == kept for line in lines[1:3] for title in line.split("│"))
    assert any(record["call_id"] in line for line in lines)
    assert any("There is no room for CPU" in line for line in lines) == (room < 300)


def test_what_is_known_of_a_function_says_how_it_takes_inputs_and_when_it_runs_by_itself():
    from windlass.cli import words
    from windlass.wire import parameters

    schema: Any = [{"name": "size", "type": "str"}, {"name": "n", "type": "int"}]
    spec = {
        "class_name": "Model", "methods": {"predict": {}}, "definition": "file", "module": "m", "qualname": "Model",
        "cpu_request": 0.0, "cpu_limit": 0.0, "memory_request": 0, "memory_limit": 0, "block_network": False,
        "restrict_access": False, "timeout": 300.0, "startup_timeout": 300.0, "retries": None, "single_use": False,
        "image_id": "im-1", "secrets": [], "concurrency": {"max_inputs": 10, "target_inputs": 5},
        "batching": {"max_batch_size": 4, "wait_ms": 100}, "schedule": {"period": {"hours": 1, "minutes": 30}},
        "snapshot": True,
    }  # fmt: skip
    bounds = {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 60.0}
    info = {
        "function_id": "fu-1", "app_id": "ap-1", "app_name": "shop", "tag": "Model.*", "live": True, "spec": spec,
        "autoscaler": bounds, "image": [], "variant_of": "fu-0", "variants": [], "containers": [], "backlog": 0,
        "running": 0, "parameters": parameters.encode(schema, {"size": "large", "n": 3}),
    }  # fmt: skip
    facts = words.function(info)
    assert facts["Concurrency"] == "up to 10 at once in a container, planned with 5"
    assert facts["Batching"] == "up to 4 together, after 100 ms" and facts["Memory snapshot"] == "yes"
    assert facts["Schedule"] == "every 1 hour, 30 minutes"
    assert facts["Parameters"] == "size='large', n=3" and facts["Variant of"] == "fu-0"
    plain = {**spec, **dict.fromkeys(("concurrency", "batching", "schedule", "snapshot"))}
    shown = words.function({**info, "spec": plain, "variant_of": None, "parameters": ""})
    assert not {"Concurrency", "Batching", "Schedule", "Memory snapshot", "Parameters"} & set(shown)
