"""A connection whose platform goes away."""
from __future__ import annotations

import asyncio
import math
import time

import pytest

import windlass
from windlass import exception
from windlass.client import address, output, run, session
from windlass.wire import peer


class Told(output.Output):
    """Remembers what the person was told."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.notices: list[str] = []

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def notice(self, text: str) -> None:
        self.notices.append(text)


def gone(served):
    served.socket.unlink()
    served.loop.call_soon_threadsafe(served.drop)


def until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def told(monkeypatch):
    show = Told()
    monkeypatch.setattr(output, "current", lambda: show)
    return show


def test_all_who_wait_for_a_platform_that_is_gone_hear_of_it_together_and_are_told_why_they_wait(
    platform, monkeypatch, told
):
    served = platform(lambda x: x)
    monkeypatch.setattr(session, "START_PATIENCE", 2.0)
    monkeypatch.setattr(session, "_SILENCE", 0.1)

    async def scene():
        home = session.Session(address.of_process()._replace(autostart=False))
        await home.request("node.list", {})
        assert home.connected
        gone(served)
        began = time.monotonic()
        ends = await asyncio.gather(*(home.request("node.list", {}) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(end, exception.ConnectionError) for end in ends), ends
        assert time.monotonic() - began < 8, "they do not wait one after the other"
        assert len([text for text in told.statuses if "waiting" in text]) == 1
        await home.close()

    asyncio.run(scene())


def test_an_app_whose_platform_has_gone_ends_all_the_same(platform, monkeypatch, told):
    served = platform(lambda x: x)
    served.on_app_create = lambda incoming, body: incoming.reply({"app_id": body["app_id"]})
    monkeypatch.setattr(run, "_LAST_TRY", 0.5)
    began = time.monotonic()
    with pytest.raises(KeyError), windlass.App("a").run():
        gone(served)
        until(lambda: not session.current().connected)
        raise KeyError
    assert time.monotonic() - began < 10
    assert any("does not answer" in text for text in told.notices), told.notices


def test_a_variable_that_is_set_but_empty_is_named_where_a_token_is_missing(monkeypatch):
    monkeypatch.setenv("WINDLASS_TOKEN_ID", "")
    settings = {"token_id": "", "token_secret": "as-x", "oauth_refresh_token": "", "oauth_client_id": ""}
    with pytest.raises(exception.AuthError) as caught:
        address.show_token({}, settings)
    assert "WINDLASS_TOKEN_ID is set, but empty" in caught.value.hint
    with pytest.raises(exception.AuthError) as caught:
        address.elsewhere("https://127.0.0.1:1", {}, {"server_fingerprint": ""})
    assert "WINDLASS_TOKEN_ID is set, but empty" in caught.value.hint


def test_each_outage_has_its_own_limit_and_a_long_one_still_ends(monkeypatch):
    now = [1000.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(session.asyncio, "sleep", sleep)
    lost = exception.ServiceError("lost")

    def gone(lived: float) -> peer.ConnectionLost:
        made = peer.ConnectionLost("lost")
        made.lived = lived
        return made

    async def outages() -> None:
        patience = session.Patience()
        for _ in range(5):  # the platform is restarted once an hour
            await patience.wait(lost)
            now[0] += 3600.0
        with pytest.raises(exception.ServiceError):
            while now[0] < 1e6:  # it never comes back
                await patience.wait(lost)
        assert now[0] < 1000.0 + 5 * 3601.0 + session.RESTART_PATIENCE + 5.0
        patience = session.Patience()
        for _ in range(30):  # the server is killed every half minute: it was there in between
            await patience.wait(gone(25.0))
            now[0] += 30.0
        began = now[0]
        with pytest.raises(exception.ServiceError):
            while now[0] < 1e6:  # it is lost at once whenever it is back
                await patience.wait(gone(0.5))
                now[0] += 8.0  # until it is there again
        assert now[0] < began + session.RESTART_PATIENCE + 10.0
        connecting = session.Patience(session.START_PATIENCE, calm=math.inf)
        await connecting.wait(lost)
        now[0] += session.START_PATIENCE + 1.0  # one try that took so long
        with pytest.raises(exception.ServiceError):
            await connecting.wait(lost)

    asyncio.run(outages())
