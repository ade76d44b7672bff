"""How the SDK talks to the platform: bridge, session, object life cycle, resolver, calls, maps, source shipping.

Belongs here: everything between a public noun (``windlass.function``, …) and a frame on the wire. Does not
belong here: public names (they live in the root modules), anything that prints (``output`` only has hooks).
Imports only the standard library; asyncio only when the network is first used.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client.public import Client as Client

__all__ = ["Client"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from windlass.client import public

        return public.Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
