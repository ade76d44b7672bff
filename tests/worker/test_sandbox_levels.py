"""What is remembered of levels of isolation, and that nobody waits for those that are tried. Real ones:
``system/test_sandbox_levels.py``."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, cast

import pytest

from windlass.worker.sandboxes import levels, sentry, starting, trying
from windlass.worker.sandboxes.vm import parts

STARTER = cast("starting.Starting", None)  # what never answers is never started


@pytest.fixture
def runsc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that hangs, whatever it is asked, and notes each time it is started."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "runsc"
    program.write_text(f"#!/bin/sh\necho >> {tmp_path}/started\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sentry, "_PATH", str(program.parent))
    monkeypatch.setattr(parts, "_PATH", str(program.parent))
    monkeypatch.setattr(sentry, "_TIME", 0.3)
    return program


def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(exist_ok=True)
    return tmp_path / "home"


def test_a_program_that_hangs_keeps_nobody_waiting_and_is_refused_with_its_reason_once_it_was_tried(
    tmp_path, runsc, monkeypatch
):
    monkeypatch.setattr(sentry, "_TIME", 2.0)

    async def run() -> Any:
        began = time.monotonic()
        async with trying.Offer(home(tmp_path), STARTER) as offer:
            entered, hoped = time.monotonic() - began, offer.reasons["gvisor"]
            return entered, hoped, (await offer.tried("gvisor")).reasons["gvisor"], offer.reasons["gvisor"]

    entered, hoped, tried, said = asyncio.run(run())
    assert entered < 1.8 and hoped == ""
    assert tried == said == "runsc is installed, but does not answer"


def test_what_was_found_is_remembered_without_a_program_being_started_until_that_program_is_another(tmp_path, runsc):
    found = asyncio.run(levels.look(home(tmp_path), STARTER))
    (tmp_path / "started").unlink()
    assert levels.recall(home(tmp_path)) == found and found.reasons["gvisor"]
    assert not (tmp_path / "started").exists()
    os.utime(runsc, (1, 1))
    assert levels.recall(home(tmp_path)).reasons["gvisor"] == "", "another one may work"


def test_what_failed_is_told_at_once_and_tried_again(tmp_path, runsc):
    asyncio.run(levels.look(home(tmp_path), STARTER))
    (tmp_path / "started").unlink()

    async def run() -> str:
        async with trying.Offer(home(tmp_path), STARTER) as offer:
            first = offer.reasons["gvisor"]
            await offer.tried("gvisor")
            return first

    assert "does not answer" in asyncio.run(run())
    assert (tmp_path / "started").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"of": 1, "runsc": null}'])
def test_a_memory_that_says_nothing_is_none(tmp_path, text, monkeypatch):
    monkeypatch.setattr(sentry, "_PATH", str(tmp_path))
    monkeypatch.setattr(parts, "_PATH", str(tmp_path))
    (home(tmp_path) / "levels.json").write_text(text)
    assert levels.recall(home(tmp_path)).reasons["gvisor"] == "runsc is not installed"


def test_a_machine_of_ones_own_is_hoped_for_where_its_monitor_is(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_PATH", str(tmp_path))
    assert levels.recall(home(tmp_path)).reasons["vm"] == "qemu is not installed"
    (tmp_path / "qemu-system-x86_64").write_text("")
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    hoped = levels.recall(home(tmp_path))
    assert hoped.reasons["vm"] == "" and hoped.lacks("vm")


def test_what_was_sure_is_not_tried_again_for_the_sake_of_another_level(tmp_path, runsc, monkeypatch):
    program = sentry.Runsc(runsc, *[""] * (len(sentry.Runsc._fields) - 1))
    sure = levels.Levels(program, {"gvisor": ""}, {"gvisor": "old"})
    found = asyncio.run(levels.look(home(tmp_path), STARTER, known=sure))
    assert found.runsc == program and found.notes == {"gvisor": "old"}
    assert found.reasons["vm"] == "qemu is not installed"
    assert not (tmp_path / "started").exists()
