"""Secrets: environment variables, with or without a name. Values travel to the server and to workers, never back."""
from __future__ import annotations

from typing import TypedDict


class SecretCreate(TypedDict, total=False):
    """One without a name, for an app. Idempotent in ``secret_id``."""

    secret_id: str
    name: str | None
    env: dict[str, str]
    app_id: str | None


class SecretRef(TypedDict):
    secret_id: str


class SecretStore(TypedDict, total=False):
    """Make one with a name. ``existing``: "fail" where there is one, "keep" it or "replace" its variables."""

    secret_id: str
    name: str
    environment: str
    env: dict[str, str]
    existing: str
    by: str
    op: int
    low: int


class SecretGet(TypedDict, total=False):
    """By id, or by name and environment. ``required_keys``: variables that it must have."""

    secret_id: str
    name: str
    environment: str
    required_keys: list[str]


class SecretInfo(TypedDict):
    """``name`` is "" where it has none; ``keys`` are the names of its variables."""

    secret_id: str
    name: str
    environment: str
    keys: list[str]
    created_at: float
    created_by: str
    used_at: float | None


class SecretUpdate(TypedDict):
    """Add or replace variables. Containers that run are not changed."""

    secret_id: str
    env: dict[str, str]
    op: int
    low: int


class SecretList(TypedDict, total=False):
    environment: str
    limit: int
    created_before: float


class SecretListReply(TypedDict):
    """Newest first."""

    secrets: list[SecretInfo]


class SecretDelete(TypedDict, total=False):
    name: str
    environment: str
    op: int
    low: int
