"""``function.bind``: the pool of a class with these parameters, of a function with these options."""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.server.api import apps, door
from windlass.server.apply import apps as app_actions
from windlass.server.apply import buckets as bucket_actions
from windlass.server.apply import variants as actions
from windlass.wire import peer
from windlass.wire.messages import functions as messages

Core = door.Core


@door.handler("function.bind", "function_id")
def bind(core: Core, who: door.Who, body: messages.FunctionBind, incoming: peer.Incoming) -> Any:
    base = apps.function_of(core, body["function_id"])
    if not base.app.alive:
        raise exception.ConflictError(f"the app of {base.tag!r} has stopped", hint="Run it again, or deploy the app.")
    if base.removed:
        raise exception.NotFoundError(base.farewell)
    bucket_actions.bound(core, body.get("overrides", {}).get("buckets", []), is_owner=who.is_owner)
    found = actions.find(core, base, body.get("parameters", ""), body.get("overrides", {}))
    if isinstance(found, actions.Wanted):
        apps.check_spec(core, found.spec)
        core.turn.begin()
        found = actions.make(core, found)
    return app_actions.handle(core, found)
