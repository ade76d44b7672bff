"""Which endpoints of buckets others may name: this machine reaches them, and so what is behind its own fences.

The owner of the platform's socket mounts what they like. A member's token, or a container's, gets addresses of the
public internet alone, and what ``bucket_endpoints`` names. The worker holds the mount to that by rules of its network,
whatever a name means later and wherever a server redirects.
"""

from __future__ import annotations

import ipaddress
import re
from urllib import parse

from windlass import exception
from windlass.kit import addresses
from windlass.wire.messages import buckets as messages

_NAME = re.compile(r"[a-z0-9._-]+\Z")
_INSIDE = ("localhost", "local", "internal", "lan", "home", "corp", "intranet", "private")
"""Last parts of names that mean something in this network alone."""


def is_public(endpoint: str, allowed: str) -> bool:
    """False where ``allowed`` names it, so that nobody needs to look at what its name means.

    Raises:
        InvalidError: it is no address, or one that programs read in different ways.
        PermissionDeniedError: it may lead into this machine, or the networks it is in; or ``allowed`` is "none".
    """
    if allowed.strip().lower() == "none":
        raise exception.PermissionDeniedError(
            "members and containers may mount no buckets here",
            hint="The platform's owner has said so: WINDLASS_SERVER_BUCKET_ENDPOINTS=none in server.env.",
        )
    if not endpoint:
        return True
    host = named(endpoint).rstrip(".").lower()
    address = addresses.read(host)
    if address is None and host and not _NAME.match(host):  # what others might read as another name
        raise _malformed(endpoint)
    if any(_names(one.strip().lower(), host, address) for one in allowed.split(",")):
        return False
    if not host or (address is None and _is_inside(host)) or (address is not None and not addresses.leads_out(address)):
        raise refusal(endpoint, host)
    return True


def notes(endpoint: str, allowed: str) -> messages.Notes:
    """What the worker must hold the mount of somebody to who is not the owner. Raises as ``is_public``."""
    public = is_public(endpoint, allowed)
    return {"public": public, "alone": not public}


def noted(mount: messages.BucketMount, allowed: str) -> messages.Notes:
    """What is noted in a function's record; where an older version noted nothing, what anybody may have. What nobody
    may have keeps its container from starting, with what to do."""
    if "public" in mount:
        return {"public": mount["public"], "alone": mount.get("alone", False)}
    try:
        return notes(mount["endpoint"], allowed)
    except exception.Error:
        return {"public": True, "alone": False}


def named(endpoint: str) -> str:
    """The host that it names. Raises ``InvalidError`` where nobody could look that up, or connect to its port."""
    try:
        parts = parse.urlsplit(endpoint)
        host = parts.hostname or ""
        host.encode("idna")  # as look-ups do: a part of a name has 1 to 63 characters
        _ = parts.port  # which is read here
    except ValueError:
        raise _malformed(endpoint) from None
    return host


def _malformed(endpoint: str) -> exception.InvalidError:
    return exception.InvalidError(f"the endpoint {endpoint[:80]!r} of a bucket is no address")


def refusal(endpoint: str, what: str) -> exception.PermissionDeniedError:
    return exception.PermissionDeniedError(
        f"the endpoint {endpoint[:80]!r} of a bucket leads to {what[:80] or 'nowhere'}, which lies behind this machine",
        hint="The platform's owner allows it with WINDLASS_SERVER_BUCKET_ENDPOINTS=HOST (or ADDRESS, or NETWORK; with "
        "commas) in server.env; from the machine itself, without a token, it may be mounted as it is.",
    )


def _names(one: str, host: str, address: addresses.Address | None) -> bool:
    if address is None or not one:
        return bool(one) and one == host
    try:
        return address in ipaddress.ip_network(one, strict=False)
    except ValueError:
        return False


def _is_inside(host: str) -> bool:
    return "." not in host or host.rpartition(".")[2] in _INSIDE
