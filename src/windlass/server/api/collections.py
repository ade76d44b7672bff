"""What dicts and queues have in common: ``dict.open``, ``queue.open`` and so on."""

from __future__ import annotations

import functools
import re
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import door
from windlass.server.apply import collections as actions
from windlass.server.apply import disk, environments, receipts
from windlass.server.bus import link
from windlass.server.store import collections
from windlass.wire import peer
from windlass.wire.messages import collections as messages

Core = door.Core
PREFIXES = {"dict": "di", "queue": "qu"}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_MOST_LISTED = 1000


def _open(kind: str, core: Core, who: door.Who, body: messages.CollectionOpen, incoming: peer.Incoming) -> Any:
    if not ids.is_id(body["id"], PREFIXES[kind]):
        raise exception.InvalidError(f"not the id of a {kind}: {body['id'][:60]!r}")
    if body.get("create", "never") != "never":
        disk.check(core)
    environment = environments.named(core, body.get("environment"))
    name = body.get("name")
    if name is None:
        return actions.info(actions.make(core, kind, environment, None, body, client=who.client_id))
    if not _NAME.match(name):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for a {kind}", hint="Use 1-64 letters, digits, '-', '_', '.'."
        )
    return actions.info(actions.open_named(core, kind, environment, name, body))


def _info(kind: str, core: Core, who: door.Who, body: messages.CollectionRef, incoming: peer.Incoming) -> Any:
    return actions.info(actions.of(core, kind, body["id"]))


def _listed(kind: str, core: Core, who: door.Who, body: messages.CollectionList, incoming: peer.Incoming) -> Any:
    environment = environments.named(core, body.get("environment"))
    rows = collections.listed(
        core.db, kind, environment,
        before=body.get("created_before", float("inf")), limit=max(0, min(body.get("limit", 100), _MOST_LISTED)),
    )  # fmt: skip
    return {"collections": [actions.info(row) for row in rows]}


def _delete(kind: str, core: Core, who: door.Who, body: messages.CollectionName, incoming: peer.Incoming) -> None:
    environment = environments.named(core, body.get("environment"))

    def act() -> tuple[Any, None]:
        actions.delete(core, actions.named(core, kind, environment, body["name"]))
        return {}, None

    receipts.once(core, who.client_id, body, incoming, act)


def _close(kind: str, core: Core, who: door.Who, body: messages.CollectionRef, incoming: peer.Incoming) -> Any:
    row = collections.by_id(core.db, body["id"])
    if row is not None and row.kind == kind and row.client == who.client_id:
        actions.delete(core, row)
    return {}


def _lost(core: Core, who: door.Who, lost: link.Link) -> None:
    receipts.lost(core, who.client_id)


door.LOST.append(_lost)

for _kind in PREFIXES:
    door.handler(f"{_kind}.open", "id")(functools.partial(_open, _kind))
    door.handler(f"{_kind}.info")(functools.partial(_info, _kind))
    door.handler(f"{_kind}.list")(functools.partial(_listed, _kind))
    door.handler(f"{_kind}.delete", "name", "op", "low")(functools.partial(_delete, _kind))
    door.handler(f"{_kind}.close")(functools.partial(_close, _kind))
