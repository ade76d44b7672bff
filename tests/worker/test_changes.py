"""Changes of rules, made together."""

from __future__ import annotations

import threading
from concurrent import futures

import pytest

from windlass import exception
from windlass.worker import changes


def test_what_waits_together_is_one_change_and_what_is_wrong_fails_alone() -> None:
    made: list[str] = []
    going = threading.Event()

    def change(script: str) -> None:
        going.wait(10)
        if "wrong" in script:
            raise exception.ExecutionError(f"no {script}")
        made.append(script)

    with futures.ThreadPoolExecutor(1) as thread:
        rules = changes.Changes(thread, change)
        first = rules.make("first")
        while not first.running():
            pass
        others = [rules.make(script) for script in ("a", "b", "wrong", "c")]
        going.set()
        assert first.result(10) is None
        assert [one.result(10) for one in (others[0], others[1], others[3])] == [None] * 3
        with pytest.raises(exception.ExecutionError, match="no wrong"):
            others[2].result(10)
        assert made == ["first", "a", "b", "c"]
        made.clear()
        held = threading.Event()
        thread.submit(held.wait)
        together = [rules.make(script) for script in ("d", "e", "f")]
        assert together[1].cancel(), "nobody waits for it any more"
        held.set()
        assert together[0].result(10) is together[2].result(10) is None and made == ["d\ne\nf"]
