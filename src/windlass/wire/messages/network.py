"""What one container's network has beyond that of all others."""
from __future__ import annotations

from typing import TypedDict


class NetworkPlan(TypedDict, total=False):
    """``cidrs``, ``domains``: all that it may reach (``wire.reach``); with neither, the public internet.
    ``source``: the address of the machine that it leaves by. ``address``: its own in the private network, where those
    of the same ``group`` reach each other."""

    cidrs: list[str]
    domains: list[str]
    source: str
    address: str
    group: str
