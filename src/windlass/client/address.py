"""Where this process belongs and as whom: what the settings say, before anything is connected.

Without an event loop: the command line asks short questions without one (``direct``).
"""
from __future__ import annotations

import os
from typing import NamedTuple, Protocol

import windlass
from windlass import config, exception, paths, wire
from windlass.client import here
from windlass.kit import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from windlass.client.remote import place
    from windlass.wire.messages import common


class Settings(Protocol):
    """Where settings are read from."""

    def __getitem__(self, key: str, /) -> Any: ...


class Address(NamedTuple):
    """Where to connect and as whom. ``autostart``: may the platform be started from here? ``remote``: where it is on
    another machine, and ``others`` where else, tried in this order. ``home``: whose platform must answer, where the
    socket was not named by the user."""

    socket: str
    hello: common.HelloRequest
    autostart: bool
    remote: place.Place | None = None
    home: Path | None = None
    others: tuple[place.Place, ...] = ()

    @property
    def places(self) -> list[place.Place]:
        return [] if self.remote is None else [self.remote, *self.others]

    @property
    def shown(self) -> str:
        return ", ".join([one.origin for one in self.places]) or self.socket


def greeting() -> common.HelloRequest:
    """Of a user."""
    version: str = windlass.__version__
    return {"role": "user", "protocol": wire.PROTOCOL, "version": version, "client_id": ids.new("cl")}


def of_process(settings: Settings = config.config) -> Address:
    """Where this process belongs: to its container's socket, to the platform of ``server_url``, or to that of
    ``WINDLASS_HOME``."""
    hello = greeting()
    if here.building:
        raise exception.ExecutionError(
            "a function that runs as a build step cannot use the platform",
            hint="Do that in a function of the app; run_function() is for what the image shall hold.",
        )
    if here.plan is not None:
        hello["role"] = "container"
        hello["container_id"], hello["token"] = here.plan["container_id"], here.plan["token"]
        return Address(here.plan["socket"], hello, autostart=False)
    show_token(hello, settings)
    if url := settings["server_url"]:
        return elsewhere(url, hello, settings)
    paths.check_system()
    home = paths.home()
    return Address(str(paths.server_socket(home)), hello, autostart=True, home=home)


def elsewhere(url: str, hello: common.HelloRequest, settings: Settings) -> Address:
    """The platform that ``url`` names: no other is started instead, whether it answers or not. Of several addresses of
    it, with commas, the first that answers counts.

    Raises:
        InvalidError: that is no address.
        AuthError: a token is needed and missing.
    """
    if url.startswith("unix:"):
        return Address(url.removeprefix("unix:").removeprefix("//"), hello, autostart=False)
    from windlass.client.remote import place

    where, *others = [place.read(one, settings["server_fingerprint"]) for one in url.split(",")]
    if not hello.get("token_id"):
        raise exception.AuthError(
            f"the platform at {where.origin} wants a token",
            hint=_no_token(os.environ),
        )
    return Address("", hello, autostart=False, remote=where, others=tuple(others))


def _no_token(environ: Mapping[str, str]) -> str:
    """What to do: a variable that is set and empty, as of a secret that CI does not have, hides the profile's token."""
    for name in ("WINDLASS_TOKEN_ID", "WINDLASS_TOKEN_SECRET"):
        if environ.get(name) == "":
            return f"{name} is set, but empty: give it a value, or unset it to use the profile's token."
    return "`windlass token set` stores one; or set both WINDLASS_TOKEN_ID and WINDLASS_TOKEN_SECRET."


def show_token(hello: common.HelloRequest, settings: Settings) -> None:
    """Say as whom, where that is configured; without a token whoever may use the socket is the platform's owner.

    Raises:
        InvalidError: there is another kind of credentials, too.
        UnimplementedError: there is only that.
    """
    token_id, secret = settings["token_id"], settings["token_secret"]
    if settings["oauth_refresh_token"] or settings["oauth_client_id"]:
        if token_id:
            raise exception.InvalidError(
                "there are a token and OAuth credentials, and one cannot be both", hint="Remove one of them."
            )
        raise exception.UnimplementedError(
            "this platform has no OAuth", hint="`windlass token new` makes a token; remove the oauth_… settings."
        )
    if bool(token_id) != bool(secret):
        raise exception.AuthError(
            f"there is a {'token_id' if token_id else 'token_secret'} without its other half",
            hint=_no_token(os.environ),
        )
    if token_id:
        hello["token_id"], hello["token_secret"] = token_id, secret
