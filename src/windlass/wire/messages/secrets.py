"""Secrets: named or anonymous environment variables."""
from __future__ import annotations

from typing import TypedDict


class SecretCreate(TypedDict, total=False):
    """Anonymous when ``name`` is None. Idempotent in ``secret_id``."""

    secret_id: str
    name: str | None
    env: dict[str, str]
    app_id: str | None


class SecretRef(TypedDict):
    secret_id: str
