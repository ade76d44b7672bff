"""Trying a token out before anybody relies on it."""
from __future__ import annotations

from windlass import config
from windlass.client import address, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import identity


async def whoami(server_url: str, credentials: tuple[str, str], fingerprint: str = "") -> identity.WhoAmI:
    """Whose token it is, on the platform at ``server_url`` ("": that of this machine).

    Raises:
        AuthError: the platform does not know it.
    """
    settings = {
        **config.config.to_dict(),
        "server_url": server_url,
        "server_fingerprint": fingerprint,
        "token_id": credentials[0],
        "token_secret": credentials[1],
    }
    home = session.Session(address.of_process(settings))
    try:
        found: identity.WhoAmI = (await home.request("identity.whoami", {})).body
        return found
    finally:
        await home.close()
