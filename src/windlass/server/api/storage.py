"""``storage.*``: long work, in tasks that end with their exchange."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from windlass.server.api import door
from windlass.server.apply import sweep, usage
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import storage as messages

Core = door.Core


@door.handler("storage.gc")
def gc(core: Core, who: door.Who, body: messages.StorageGc, incoming: peer.Incoming) -> None:
    # What has begun is finished, also when nobody waits for the answer any more.
    _answer(core, incoming, sweep.gc(core, body))


@door.handler("storage.usage")
def look(core: Core, who: door.Who, body: common.Empty, incoming: peer.Incoming) -> None:
    _answer(core, incoming, usage.usage(core))


def _answer(core: Core, incoming: peer.Incoming, work: Coroutine[Any, Any, Any]) -> None:
    async def reply() -> None:
        incoming.reply(await work)

    core.tasks.start(door.answered(incoming, reply()), incoming.method)
