"""Whether a sandbox can be isolated as it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from windlass import exception
from windlass.server.decide import sandboxes


def spec(**more: Any) -> Any:
    return {"block_network": False, **more}


def test_one_machine_that_has_the_level_is_enough():
    sandboxes.check_level(spec(runtime="gvisor"), [{"gvisor": "no runsc"}, {"gvisor": ""}])
    sandboxes.check_level(spec(), [{"gvisor": "no runsc"}])
    sandboxes.check_level(spec(runtime="gvisor"), [])  # it waits for a machine


def test_where_none_has_it_the_reason_is_told():
    with pytest.raises(exception.UnimplementedError, match="no runsc"):
        sandboxes.check_level(spec(runtime="gvisor"), [{"gvisor": "no runsc"}])
    with pytest.raises(exception.UnimplementedError, match="older"):
        sandboxes.check_level(spec(runtime="gvisor"), [{}])


def test_what_a_level_lacks_is_refused():
    with pytest.raises(exception.InvalidError, match="GPUs"):
        sandboxes.check_level(spec(runtime="gvisor", gpus=[{"kind": "H100", "count": 1}]), [{"gvisor": ""}])


def test_memory_is_kept_only_of_what_was_made_for_it_and_is_calm():
    sandboxes.check_memory(spec(memory_snapshot=True), 0)
    with pytest.raises(exception.InvalidError):
        sandboxes.check_memory(spec(), 0)
    with pytest.raises(exception.ConflictError):
        sandboxes.check_memory(spec(memory_snapshot=True), 1)
