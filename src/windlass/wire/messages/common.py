"""Shapes that several nouns share."""
from __future__ import annotations

from typing import TypedDict


class Empty(TypedDict):
    """Nothing to say."""


class Payload(TypedDict, total=False):
    """A Python value on its way: inline (attachment number ``at``) or a blob by digest.

    Exactly one of ``at`` and ``blob`` is present. ``size`` is in bytes and always present.
    """

    at: int
    blob: str
    size: int


class HelloRequest(TypedDict, total=False):
    """First message of each connection.

    ``role``: "user", "runner", "container" (the SDK inside a container) or "worker".
    ``client_id`` is stable across reconnects of one process. ``token`` and ``container_id`` are for
    "runner" and "container". A "user" shows ``token_id`` and ``token_secret``; by the platform's own socket it may
    leave them out, and is its owner then.
    """

    role: str
    protocol: int
    version: str
    client_id: str
    container_id: str
    token: str
    token_id: str
    token_secret: str


class HelloReply(TypedDict):
    version: str
    protocol: int
    server_id: str
    workspace: str
    environment: str


class ErrorBody(TypedDict, total=False):
    """What an error frame carries; see ``windlass.wire.status``. ``retry_after``: seconds, of "throttled"."""

    status: str
    message: str
    hint: str
    retry_after: float
