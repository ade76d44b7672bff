"""Bars for files on their way."""
from __future__ import annotations

import contextlib
import threading

import pytest

from windlass.cli import bars, render, tables


@pytest.fixture
def drawn(monkeypatch):
    """What a terminal shows; ``begun`` is set when it does."""
    told: list[object] = []
    begun = threading.Event()

    @contextlib.contextmanager
    def progress(title):
        told.append(title)
        begun.set()
        yield lambda *words: told.append(words)
        told.append("closed")

    monkeypatch.setattr(render, "progress", progress)
    monkeypatch.setattr(tables, "is_terminal", lambda: True)
    return told, begun


def test_what_takes_longer_than_a_moment_is_drawn_until_its_end(drawn, monkeypatch):
    monkeypatch.setattr(bars, "_MOMENT", 0.01)
    told, begun = drawn
    with bars.progress("Uploading") as tell:
        tell("early", 1, 9)
        assert begun.wait(10)
        tell("file", 5, 9)
    assert told == ["Uploading", ("file", 5, 9), "closed"]


def test_what_is_quick_or_fails_or_that_nobody_looks_at_draws_nothing(drawn, monkeypatch):
    told, _ = drawn
    monkeypatch.setattr(bars, "_MOMENT", 60)
    with pytest.raises(OSError), bars.progress("Uploading") as tell:
        tell("file", 5, 9)
        raise OSError
    monkeypatch.setattr(bars, "_MOMENT", 0)
    monkeypatch.setattr(tables, "is_terminal", lambda: False)
    with bars.progress("Uploading") as tell:
        tell("file", 5, 9)
    assert not told
