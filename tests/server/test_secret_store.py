"""Secrets at the server's door: stored encrypted, never given back, with rules for what may be in them."""
from __future__ import annotations

import logging
import stat

import pytest

from windlass import exception
from windlass.kit import ids
from windlass.server.objects import keyring
from windlass.server.store import secrets

_numbers = iter(range(1, 1000))


async def stored(client, name: str = "db", env: dict | None = None, **more) -> str:
    op = next(_numbers)
    body = {"secret_id": ids.new("st"), "name": name, "env": env or {"A": "1"}, "op": op, "low": op, **more}
    return (await client.request("secret.store", **body))["secret_id"]


async def change(client, method: str, **body) -> None:
    op = next(_numbers)
    await client.request(f"secret.{method}", **body, op=op, low=op)


def held(core, identity: str) -> dict[str, str]:
    return core.keyring.decrypt(secrets.by_id(core.db, identity).env)


def test_a_secret_is_stored_kept_replaced_and_updated(play):
    async def scene(platform):
        core, client = platform.core, await platform.client()
        identity = await stored(client, env={"A": "1", "B": "2"})
        with pytest.raises(exception.AlreadyExistsError):
            await stored(client)
        assert await stored(client, env={"X": "1"}, existing="keep") == identity
        assert held(core, identity) == {"A": "1", "B": "2"}
        await change(client, "update", secret_id=identity, env={"B": "3", "C": "4"})
        assert held(core, identity) == {"A": "1", "B": "3", "C": "4"}
        assert await stored(client, env={"X": "1"}, existing="replace") == identity
        assert held(core, identity) == {"X": "1"}
        assert b'"X"' not in secrets.by_id(core.db, identity).env

    play(scene)


def test_required_keys_are_checked_and_values_never_come_back(play):
    async def scene(platform):
        client = await platform.client()
        identity = await stored(client, env={"A": "hunter2", "B": "x"})
        info = await client.request("secret.get", name="db", required_keys=["A", "B"])
        assert info["secret_id"] == identity and info["keys"] == ["A", "B"] and "hunter2" not in str(info)
        with pytest.raises(exception.InvalidError, match="C, D"):
            await client.request("secret.get", name="db", required_keys=["A", "C", "D"])
        with pytest.raises(exception.NotFoundError, match="'none'"):
            await client.request("secret.get", name="none")
        (listed,) = (await client.request("secret.list", environment=""))["secrets"]
        assert listed == info and "hunter2" not in str(listed)

    play(scene)


def test_names_belong_to_environments_and_a_deleted_secret_is_gone(play):
    async def scene(platform):
        client = await platform.client()
        await client.request("environment.create", name="dev")
        one, two = await stored(client), await stored(client, environment="dev")
        assert one != two
        await client.request("environment.update", name="dev", set_name="test")
        assert (await client.request("secret.get", name="db", environment="test"))["secret_id"] == two
        await client.request("environment.delete", name="test")
        with pytest.raises(exception.NotFoundError):
            await client.request("secret.get", secret_id=two)
        await change(client, "delete", name="db")
        for query in ({"secret_id": one}, {"name": "db"}):
            with pytest.raises(exception.NotFoundError):
                await client.request("secret.get", **query)

    play(scene)


@pytest.mark.parametrize(
    "env", [{"": "x"}, {"1A": "x"}, {"A-B": "x"}, {"ä": "x"}, {"A=": "x"}, {"A": "\0"}, {"A": "hunter2" * 5000},
            {"A" * 16_385: "x"}, {"A": "\U0001f600" * 32_768}]
)  # fmt: skip
def test_what_cannot_be_a_variable_is_refused_without_showing_it(play, env):
    async def scene(platform):
        client = await platform.client()
        identity = await stored(client)
        for method, body in (
            ("store", {"secret_id": ids.new("st"), "name": "other", "env": env}),
            ("update", {"secret_id": identity, "env": env}),
        ):
            with pytest.raises(exception.InvalidError) as caught:
                await change(client, method, **body)
            assert "hunter2" not in str(caught.value) + caught.value.hint
        with pytest.raises(exception.InvalidError):
            await client.request("secret.create", secret_id=ids.new("st"), env=env)
        assert len((await client.request("secret.list", environment=""))["secrets"]) == 1

    play(scene)


def test_the_key_file_is_closed_to_others_and_closed_again_where_it_was_opened(tmp_path, caplog):
    path = tmp_path / "key"
    first = keyring.Keyring(path).encrypt({"A": "1"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert keyring.Keyring(path).decrypt(first) == {"A": "1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "renew your secrets" in caplog.text
    path.unlink()
    with pytest.raises(exception.DataLossError, match="key"):
        keyring.Keyring(path).decrypt(first)


@pytest.mark.parametrize("left", [b"", b"half of a k", b"\xff" * 44])
def test_a_damaged_key_is_named_with_what_to_do_and_left_as_it_is(tmp_path, left):
    path = tmp_path / "key"
    path.write_bytes(left)
    with pytest.raises(exception.DataLossError, match=f"{path}, is damaged") as caught:
        keyring.Keyring(path)
    assert "backup" in caught.value.hint and path.read_bytes() == left
