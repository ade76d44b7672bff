"""Connect tokens of sandboxes: who shows one may send requests to one port. They are signed, not stored, and worth
nothing once their sandbox has ended."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import web
from windlass.server.decide import ports
from windlass.server.state import sandboxes as state
from windlass.wire.messages import sandboxes as messages

_PURPOSE, _LABEL = "connect", "label of"
_MOST = 4096  # characters of a token
_DIGITS = 20


class Claim(NamedTuple):
    """What a token says. ``metadata``: None where it says nothing of its user."""

    sandbox_id: str
    port: int
    metadata: str | None


def create(
    core: core_module.Core, one: state.Sandbox, port: int, metadata: str | None
) -> messages.SandboxTokenReply:
    """Raises ``InvalidError``."""
    if not 0 < port < 65536:
        raise exception.InvalidError(f"{port} is no port: they go from 1 to 65535")
    ports.check_metadata(metadata or "")
    text = base64.urlsafe_b64encode(json.dumps([one.id, port, metadata]).encode()).decode().rstrip("=")
    token = f"{text}.{core.keyring.sign(_PURPOSE, text)}"
    place = label(core, one.id)
    elsewhere = core.web.outside is not None or core.settings.web_name
    return {"url": web.url(core, place) if elsewhere else f"http://127.0.0.1:{core.web.port}/~{place}", "token": token}


def label(core: core_module.Core, sandbox_id: str) -> str:
    """The part of an address that leads to a sandbox. It says nothing of which, and whether there is one."""
    return f"sb-{core.keyring.sign(_LABEL, sandbox_id)[:_DIGITS]}"


def read(core: core_module.Core, token: str) -> Claim | None:
    """What a token of ours says, also of a sandbox that has ended; None for what is none."""
    text, found, signature = token.partition(".")
    if not found or len(token) > _MOST or not core.keyring.signed(_PURPOSE, text, signature):
        return None
    try:
        return Claim(*json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    except (ValueError, TypeError, binascii.Error):
        return None
