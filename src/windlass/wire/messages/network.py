"""What one container's network has beyond that of all others."""
from __future__ import annotations

from typing import TypedDict


class NetworkPlan(TypedDict, total=False):
    """``cidrs``, ``domains``: all that it may reach (``wire.reach``); with neither, the public internet."""

    cidrs: list[str]
    domains: list[str]
