"""Proxies: found, made and deleted. Which addresses there are, the workers say."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.apply import environments, volumes
from windlass.server.decide import network as decisions
from windlass.server.store import proxies
from windlass.wire.messages import proxies as messages

Core = core_module.Core
_ASKED = 20.0


def existing(core: Core, proxy_id: str) -> proxies.Row:
    row = proxies.by_id(core.db, proxy_id)
    if row is None:
        raise exception.NotFoundError(
            f"proxy {proxy_id} does not exist (any more)",
            hint="One made anew under the same name is another one: deploy or run again.",
        )
    return row


def get(core: Core, query: messages.ProxyGet) -> proxies.Row:
    if "proxy_id" in query:
        return existing(core, query["proxy_id"])
    environment, name = environments.named(core, query.get("environment")), query.get("name", "")
    row = proxies.by_name(core.db, environment, name)
    if row is None:
        raise exception.NotFoundError(
            f"no proxy {name!r} in environment {environment!r}",
            hint=f"Create it: `windlass proxy create {name} --address ADDRESS`.",
        )
    return row


async def make(core: Core, body: messages.ProxyCreate, *, by: str) -> proxies.Row:
    """Raises ``InvalidError`` for an address that no machine of this platform has."""
    environment = environments.named(core, body.get("environment"))
    name = volumes.check_name(body["name"], what="a proxy", prefix="pr")
    addresses, why = await _here(core)
    decisions.check_sources(body["addresses"], addresses, why)
    if proxies.by_name(core.db, environment, name) is not None:
        raise exception.AlreadyExistsError(f"there is a proxy {name!r} already in environment {environment!r}")
    row = proxies.Row(ids.new("pr"), environment, name, json.dumps(body["addresses"]), core.clock.now(), by)
    core.turn.begin()
    proxies.insert(core.db, row)
    return row


def delete(core: Core, row: proxies.Row) -> None:
    """Containers that run keep their address; new ones of functions that name it fail, and say so."""
    core.turn.begin()
    proxies.delete(core.db, row.id)


def info(row: proxies.Row) -> messages.ProxyInfo:
    return {
        "proxy_id": row.id, "name": row.name, "environment": row.environment, "addresses": row.addresses,
        "created_at": row.created_at, "created_by": row.created_by,
    }  # fmt: skip


def source(core: Core, spec: Any, container_id: str) -> str:
    """The address that a new container leaves by; "" where that does not matter. Each container has one of them."""
    if not spec.get("proxy"):
        return ""
    addresses = existing(core, spec["proxy"]).addresses
    return addresses[zlib.crc32(container_id.encode()) % len(addresses)]


def check(core: Core, spec: Any) -> None:
    """Refuse a proxy that is not there, and networks that no machine can give."""
    decisions.check_here(spec, {worker.uplink for worker in core.world.workers.values()})
    if spec.get("proxy"):
        existing(core, spec["proxy"])


async def _here(core: Core) -> tuple[set[str], str]:
    """The addresses of all machines, and why there are none."""
    found, why = set[str](), "no worker is connected"
    for worker in list(core.world.workers.values()):
        asked = worker.peer.request("network.addresses", {})
        told: messages.NetworkAddresses = (await asyncio.wait_for(asked, _ASKED)).body
        found.update(told["addresses"])
        why = told["why"]
    return found, why
