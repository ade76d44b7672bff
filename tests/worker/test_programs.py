"""Programs of the system are found wherever a user's PATH stops; a missing one is named with its package."""
from __future__ import annotations

import os

import pytest

from windlass import exception
from windlass.worker import programs, uplink


def test_the_administrators_folders_count_and_the_users_come_first(monkeypatch):
    monkeypatch.setenv("PATH", "/own:/usr/bin")
    programs.look_everywhere()
    found = os.environ["PATH"].split(":")
    assert found[:2] == ["/own", "/usr/bin"] and {"/usr/sbin", "/sbin"} < set(found) and found.count("/usr/bin") == 1


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(exception.ExecutionError, match="nft is not installed") as caught:
        uplink.run(["nft", "-f", "-"], "")
    assert "nftables" in caught.value.hint
