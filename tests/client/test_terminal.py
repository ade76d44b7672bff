"""The user's terminal is his again when a call returns."""
from __future__ import annotations

import threading
import time

import pytest

from windlass.client import bridge, output, session, terminal


class Screen(output.Output):
    """What is done to the terminal, in order; giving it back takes a while."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def terminal_about(self):
        return {"rows": 24, "cols": 80, "term": ""}

    def terminal_opened(self, container_id, keys):
        self.seen.append(f"opened for {container_id}")

    def terminal_data(self, data):
        self.seen.append(data.decode())

    def terminal_closed(self):
        time.sleep(0.1)
        self.seen.append("closed")


@pytest.fixture
def lending(platform):
    """A platform that lends the terminal for a call, as ``pause`` says, and gives it back with the result."""
    served = platform(lambda: "done")
    served.pause = 0.0
    desks = []

    def attach(incoming, body):
        desks.append(incoming)
        incoming.item({"event": "attached"})

    def run(incoming, body):
        desks[-1].item({"event": "open", "terminal_id": "tt-1", "container_id": "ta-1"})
        desks[-1].item({"event": "data", "terminal_id": "tt-1"}, [b"hello"])

        def over():
            desks[-1].item({"event": "close", "terminal_id": "tt-1"})
            type(served).on_call_run(served, incoming, body)

        served.loop.call_later(served.pause, over)

    served.on_terminal_attach, served.on_call_run = attach, run
    return served


@pytest.mark.parametrize("pause", [0.0, 0.6], ids=["before it was opened", "after that"])
def test_the_terminal_is_ours_again_when_the_call_returns(lending, handle, pause):
    lending.pause = pause
    show = Screen()

    async def begun():
        lender = terminal.Lender(session.current(), "ap-1", show)
        await lender.begin()
        return lender

    lender = bridge.run(begun())
    assert handle.remote() == "done"
    assert show.seen == ["opened for ta-1", "hello", "closed"]
    bridge.run(lender.end())


def test_a_terminal_that_cannot_be_lent_is_said_and_the_call_returns(lending, handle):
    show, said = Screen(), threading.Event()
    show.terminal_opened = lambda container_id, keys: 1 / 0
    show.notice = lambda text: said.set() if "division" in text else None

    async def begun():
        lender = terminal.Lender(session.current(), "ap-1", show)
        await lender.begin()
        return lender

    lender = bridge.run(begun())
    assert handle.remote() == "done" and said.wait(10)
    bridge.run(lender.end())
