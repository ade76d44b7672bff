"""``image.*``."""

from __future__ import annotations

import re
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.apply import build_logs, builds, disk, environments
from windlass.server.apply import images as actions
from windlass.server.decide import images as decisions
from windlass.wire import peer
from windlass.wire.messages import built
from windlass.wire.messages import images as messages

Core = door.Core


_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@door.handler("image.build", "recipes", "app_id")
def build(core: Core, who: door.Who, body: messages.ImageBuild, incoming: peer.Incoming) -> None:
    if not body["recipes"] or body["recipes"][0].get("op") != "base":
        raise exception.InvalidError("an image begins with a base")
    disk.check(core)
    decisions.check_version(body.get("builder_version", ""))
    if any(recipe.get("op") == "base" for recipe in body["recipes"][1:]):
        raise exception.InvalidError("an image has one base")
    builds.Chain(core, body, who.client_id, incoming).advance()


@door.handler("image.get")
def found(core: Core, who: door.Who, body: built.ImageGet, incoming: peer.Incoming) -> Any:
    row = actions.existing(core, actions.named(core, body))
    actions.touch(core, row.id)
    core.handed.setdefault(who.client_id, set()).add(row.id)
    return actions.found(row)


@door.handler("image.publish", "image_id", "name")
def publish(core: Core, who: door.Who, body: built.ImagePublish, incoming: peer.Incoming) -> Any:
    good = _NAME.match(body["name"]) and _NAME.match(body.get("tag") or "latest")
    if not good or body["name"].startswith("im-"):
        raise exception.InvalidError(
            f"{body['name'][:80]!r} with tag {body.get('tag', '')[:80]!r} is no name for an image",
            hint="Use 1-64 letters, digits, '-', '_', '.' for each, and do not begin with 'im-'.",
        )
    actions.publish(core, body)
    return {}


@door.handler("image.list")
def listed(core: Core, who: door.Who, body: built.ImageList, incoming: peer.Incoming) -> Any:
    if body.get("environment"):
        environments.row(core, body["environment"])
    rows = actions.Catalogue(core).listed(body.get("environment"), all_of_them=body.get("all", False))
    return {"images": rows}


@door.handler("image.info")
def info(core: Core, who: door.Who, body: built.ImageGet, incoming: peer.Incoming) -> Any:
    return actions.Catalogue(core).info(actions.named(core, body))


@door.handler("image.logs", "image_id")
def logs(core: Core, who: door.Who, body: built.ImageLogs, incoming: peer.Incoming) -> None:
    build_logs.Follower(core, body, incoming).start()


@door.handler("image.contents")
def contents(core: Core, who: door.Who, body: messages.ImageQuery, incoming: peer.Incoming) -> None:
    core.tasks.start(_contents(core, set(body["image_ids"]), incoming), "image.contents")


async def _contents(core: Core, wanted: set[str], incoming: peer.Incoming) -> None:
    """Each worker tells of what it has."""
    found: dict[str, messages.Contents] = {}
    try:
        for worker in list(core.world.workers.values()):
            if here := sorted((wanted & worker.images) - found.keys()):
                found.update((await worker.peer.request("image.contents", {"image_ids": here})).body["images"])
        incoming.reply({"images": found})
    except exception.Error as exc:
        incoming.fail(exc)
