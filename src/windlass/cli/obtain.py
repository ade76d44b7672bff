"""Getting a token, trying it out, and storing it in a profile."""
from __future__ import annotations

import contextlib
import getpass
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from windlass import exception, paths
from windlass.cli import ask
from windlass.cli import config as config_commands
from windlass.config import config, profiles

_TOKEN = ("WINDLASS_TOKEN_ID", "WINDLASS_TOKEN_SECRET")
VARIABLES = ("token_id", "token_secret", "server_url")


def created(
    name: str, role: str | None, expires_in: float | None, environments: tuple[str, ...] | list[str]
) -> dict[str, Any]:
    from windlass.kit import ids

    body: dict[str, Any] = {"token_id": ids.new("ak"), "name": name}
    if role:
        body["kind"] = role
    if expires_in is not None:
        body["expires_in"] = expires_in
    if environments:
        body["environments"] = list(environments)
    return dict(ask.request("token.create", body))


def reached() -> dict[str, str]:
    """As whoever runs this reaches the platform; on its own machine, as it says that others do."""
    url = str(config["server_url"])
    if url and not url.startswith("unix:"):
        return {"url": url, "fingerprint": str(config["server_fingerprint"])}
    return platform(paths.home())


def platform(root: Path) -> dict[str, str]:
    """Where the platform of this machine says that others reach it; empty where it does not."""
    try:
        found = json.loads((root / "remote.shown.json").read_text())
    except (OSError, ValueError):
        found = {}
    return {key: str(found.get(key, "")) for key in ("url", "fingerprint")}


def keep(values: dict[str, str | None], profile: str | None, *, activate: bool, verify: bool) -> None:
    """Try credentials out, and store them in a profile: the one given, that of the environment, or the workspace's."""
    values = {key: value for key, value in values.items() if value is not None}
    name = profile or profiles.asked_for()
    known = profiles.tables(profiles.ours())
    workspace = ""
    if verify:
        found = _verified({**known.get(name, {}), **values})
        workspace = found["workspace"]
        click.echo(f"The token is valid: {found['name']}, {found['kind']} in workspace {workspace}.")
        if not found["environments"]:
            click.echo("It opens nothing yet: owners and managers give roles (`windlass environment roles update`).")
    name = profiles.check_name(name or workspace or "default")
    before = set(known)
    path = profiles.store(name, {**values}, activate=activate or not before)
    click.echo(f"Stored it in profile {name} of {path}.")
    if activate or not before:
        click.echo(f"The active profile is {name} now.")
    config_commands.warn(*VARIABLES)


def _verified(values: dict[str, Any]) -> Any:
    from windlass.client import bridge, credentials

    token = str(values["token_id"]), str(values["token_secret"])
    place = str(values.get("server_url", "")), token, str(values.get("server_fingerprint", ""))
    return bridge.run(credentials.whoami(*place))


def token(
    profile: str | None, *, activate: bool = True, verify: bool = True, server: str | None = None,
    fingerprint: str | None = None, expires_in: float | None = None, delete_existing: bool = False,
) -> None:  # fmt: skip
    """What `windlass token new` and `windlass setup` do."""
    url = server if server is not None else _stored(profile, "server_url")
    pinned = fingerprint if fingerprint is not None else _stored(profile, "server_fingerprint")
    old = _stored(profile, "token_id") if delete_existing else ""
    if not url or url.startswith("unix:"):
        with _as_owner(url):
            made = created(getpass.getuser(), None if _known(getpass.getuser()) else "owner", expires_in, [])
            _revoked(old)
    else:
        from windlass.cli import flow

        first = url.partition(",")[0]  # of several addresses
        made = flow.run(first, pinned, name=getpass.getuser(), expires_in=expires_in)
        _revoked(old)
    values = {"token_id": made["token_id"], "token_secret": made["secret"]}
    place = {"server_url": url or server, "server_fingerprint": pinned or fingerprint}
    keep({**values, **place}, profile, activate=activate, verify=verify)


@contextlib.contextmanager
def _as_owner(url: str) -> Iterator[None]:
    """By the socket of the platform of this machine, which knows its owner: the token of now may have expired."""
    before = {name: os.environ.get(name) for name in ("WINDLASS_SERVER_URL", *_TOKEN)}
    os.environ.update({"WINDLASS_SERVER_URL": url, **dict.fromkeys(_TOKEN, "")})
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                del os.environ[name]
            else:
                os.environ[name] = text


def _revoked(old: str) -> None:
    if old:
        ask.request("token.revoke", {"token_id": old})
        click.echo(f"Revoked {old}.")


def _stored(profile: str | None, key: str) -> str:
    try:
        return str(config.get(key, profile=profile))
    except exception.AuthError:  # the profile that the environment names is about to be made
        return ""


def _known(name: str) -> bool:
    return any(one["name"] == name for one in ask.request("member.list", {})["members"])
