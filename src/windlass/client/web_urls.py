"""Where a function answers requests, for a program that is going to ask it there."""
from __future__ import annotations

from windlass.client import here


async def of(function_id: str) -> dict[str, str]:
    """Its addresses, by method. This process can resolve them afterwards, also where the system's resolver cannot."""
    from windlass.client import session

    reply = await session.current().request("function.get", {"function_id": function_id})
    urls: dict[str, str] = reply.body.get("web_urls", {})
    if urls and not here.in_container():  # there localhost is the container, which has no web edge
        from windlass.kit import localhost

        localhost.teach()
    return urls
