"""Neighbouring releases work together; others refuse each other and say which one to upgrade."""

from __future__ import annotations

import asyncio

import fakes
import pytest

import pretend
import windlass
from windlass import exception, paths, wire
from windlass.client import address, session
from windlass.server import compose, settings
from windlass.wire import versions


@pytest.fixture
def five(monkeypatch):
    """This release speaks protocol 5."""
    monkeypatch.setattr(wire, "PROTOCOL", 5)


@pytest.mark.parametrize(
    ("role", "theirs", "spoken"),
    [("user", 5, 5), ("user", 4, 4), ("user", 6, 5), ("user", 3, None), ("user", 7, None), ("container", 4, 4),
     ("runner", 5, 5), ("runner", 4, None), ("worker", 6, None), ("user", None, None), ("user", "5", None)],
)  # fmt: skip
def test_one_number_apart_is_understood_in_the_words_of_the_older_one(role, theirs, spoken):
    assert versions.spoken(5, theirs, role) == spoken


def test_a_server_takes_the_next_and_the_last_release_and_says_what_to_upgrade_to_others(five, tmp_path):
    async def hello(protocol: object) -> dict:
        link = await fakes.connect(paths.server_socket(tmp_path), role="user", protocol=protocol)
        try:
            return (await link.request("hello", {})).body
        except exception.UnimplementedError as exc:
            return {"unknown": str(exc), "hint": exc.hint}
        finally:
            link.close()

    async def scene() -> None:
        async with compose.server(settings.Settings(home=tmp_path)):
            for protocol in (4, 5, 6):
                answer = await hello(protocol)
                assert "does not know 'hello'" in answer["unknown"] and answer["hint"] == "Upgrade the server."
            with pytest.raises(exception.VersionError, match=r"protocol 5.*protocol 7") as caught:
                await hello(7)
            assert "the machine of the server" in caught.value.hint
            with pytest.raises(exception.VersionError, match=r"protocol 5.*protocol 3") as caught:
                await hello(3)
            assert caught.value.hint == f"Upgrade Windlass in this environment to release {windlass.__version__}."

    asyncio.run(asyncio.wait_for(scene(), 10))


@pytest.mark.parametrize(("theirs", "hint"), [(3, "the machine of the server"), (4, ""), (6, ""), (7, "release 0.")])
def test_a_client_takes_the_next_and_the_last_release_and_says_what_to_upgrade_to_others(five, tmp_path, theirs, hint):
    async def greet() -> int:
        where = address.Address(str(paths.server_socket(tmp_path)), {"role": "user", "protocol": 5}, autostart=False)
        home = session.Session(where)
        try:
            await home.link()
            return (home.hello or {})["protocol"]
        finally:
            await home.close()

    with pretend.Platform(tmp_path, lambda: None) as platform:
        platform.protocol = theirs
        if not hint:
            assert asyncio.run(greet()) == theirs
            return
        with pytest.raises(exception.VersionError, match=rf"protocol {theirs}, this program.*protocol 5") as caught:
            asyncio.run(greet())
        assert hint in caught.value.hint
