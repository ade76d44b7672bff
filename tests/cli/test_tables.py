"""Lists on a terminal."""
from __future__ import annotations

import pytest

from windlass.cli import render


def test_an_id_stands_on_one_line_to_be_copied(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(render, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    identity = "ap-SqQSmTJNKLJqulrf5u2l9B"
    row = [identity, "a description of some length", "2026-11-23T22:57:51+00:00", "2026-11-23T22:59:51+00:00"]
    render.print_table(["App ID", "Description", "Created at", "Stopped at"], [row])
    shown = capsys.readouterr().out
    assert identity in shown and "T22:57" not in shown
