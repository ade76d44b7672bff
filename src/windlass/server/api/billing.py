"""``billing.report``: who had how much of the machines."""

from __future__ import annotations

from typing import Any

from windlass.server.api import door
from windlass.server.apply import accounting
from windlass.wire import peer
from windlass.wire.messages import billing as messages

Core = door.Core


@door.handler("billing.report")
def report(core: Core, who: door.Who, body: messages.UsageQuery, incoming: peer.Incoming) -> Any:
    return accounting.report(core, body)
