"""``cluster.*``."""

from __future__ import annotations

from typing import Any

from windlass.server.api import door
from windlass.server.apply import clusters as actions
from windlass.wire import peer
from windlass.wire.messages import clusters as messages

Core = door.Core


@door.handler("cluster.get")
def get(core: Core, who: door.Who, body: messages.ClusterRef, incoming: peer.Incoming) -> Any:
    return actions.info(core, actions.existing(core, body["cluster_id"]))
