"""Where the program that mounts a bucket may go. The owner's goes where the machine goes; what others named is fenced:

    public     a network of its own with the rules of containers: the public internet, and nothing behind this machine
    alone      an endpoint that the setting allows: a network of its own in which its addresses are all that is reached

So it does not matter where a server redirects, or what its name means a moment later: the kernel refuses the packets.
The network is the bucket's, not the container's, which may have stricter rules, or none at all. It outlives the worker
as the mount does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import TypedDict
from urllib import parse

from windlass import exception
from windlass.kit import addresses
from windlass.wire.messages import buckets
from windlass.worker import limits, network
from windlass.worker.images import relay

Told = Callable[[str], None]
_PORTS = {"http": 80, "https": 443}


class Fence(TypedDict):
    """``name``: whose the network is; "" without a fence. ``blocked``: it has loopback only. ``places``: what of the
    machine's loopback is passed on to it, or to the node where there is no fence."""

    name: str
    blocked: bool
    places: list[relay.Place]


def of(plan: buckets.BucketMount, owner: str) -> Fence:
    """What a bucket gets; ``owner`` names its network. Pure."""
    free = none(plan["endpoint"])
    if plan.get("alone"):
        return {**free, "name": owner, "blocked": bool(free["places"])}
    return {**free, "name": owner, "places": []} if plan.get("public") else free


def none(endpoint: str) -> Fence:
    """Of who goes where the machine goes."""
    return {"name": "", "blocked": False, "places": sorted(relay.places([endpoint]))}


class Fences:
    """Puts them up. ``told``: what is said of loopback that cannot be passed on."""

    def __init__(self, pool: network.NetworkPool, relays: relay.Relays, told: Told) -> None:
        self._pool, self._relays, self._told = pool, relays, told

    @contextlib.asynccontextmanager
    async def up(self, fence: Fence, plan: buckets.BucketMount | None) -> AsyncIterator[list[str]]:
        """The command line's beginning that starts a program behind it. ``plan``: None where an earlier worker put it
        up.

        Raises:
            PermissionDeniedError: its endpoint's name means an address behind this machine.
            ExecutionError: containers have no network here, so nothing can be kept to a part of it.
        """
        async with contextlib.AsyncExitStack() as held:
            inside, line = None, list[str]()
            if fence["name"]:
                if not fence["blocked"] and self._pool.kind == "none":
                    raise _unfenced()
                rules = await _rules(fence, plan) if plan is not None else None
                own = self._pool.lease(fence["name"], block_network=fence["blocked"], plan=rules)
                inside = (await held.enter_async_context(own)).path
                line = ["nsenter", f"--net={inside}", "--"]
            wanted = [relay.Place(*place) for place in fence["places"]]  # from a record, they are lists
            await held.enter_async_context(self._relays.open(wanted, self._told, inside=inside))
            yield line


async def _rules(fence: Fence, plan: buckets.BucketMount) -> limits.Plan | None:
    """Of its network: None for those that all containers have."""
    if fence["blocked"]:
        return None
    if plan.get("alone"):
        return {"endpoints": await _found(plan)}
    if plan["endpoint"]:
        await check_outside(plan["endpoint"])
    return None


async def _found(plan: buckets.BucketMount) -> list[str]:
    """The addresses and port of an endpoint, by its own name and by the one that has its bucket before it. What is not
    found is not reached, and told when it is mounted."""
    parts = parse.urlsplit(plan["endpoint"])
    port = parts.port or _PORTS[parts.scheme]
    found = {one for name in (parts.hostname, f"{plan['bucket']}.{parts.hostname}") for one in await _look(name, port)}
    return sorted(f"{one} . {port}" for one in found if ":" not in one)  # only IPv4 is routed


async def _look(name: str | None, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # names of buckets may be too long for a part of a name
        return []
    return [str(place[0]) for *_, place in found]


async def check_outside(endpoint: str) -> None:
    """Refuse a name that means an address behind this machine, of those who may not have it reached.

    The rules of its network would refuse it as well; but only here does anybody learn why.
    """
    parts = parse.urlsplit(endpoint)
    for where in await _look(parts.hostname, parts.port or 443):
        address = addresses.read(where)
        if address is None or not addresses.leads_out(address):
            raise exception.PermissionDeniedError(
                f"the endpoint {endpoint[:80]!r} of a bucket leads to {where}, which lies behind this machine",
                hint="The platform's owner allows its name with WINDLASS_SERVER_BUCKET_ENDPOINTS in server.env, or "
                "makes the function or sandbox on the machine itself, without a token. What was deployed by an older "
                "version has to be deployed again: it did not note by whom.",
            )


def _unfenced() -> exception.ExecutionError:
    return exception.ExecutionError(
        "a bucket that a member or a container named is mounted behind the rules of containers' networks, and here "
        "containers have none",
        hint="`windlass doctor` says what is missing; what the owner makes on the machine, without a token, may be "
        "mounted as it is.",
    )
