"""``schedule.*``: functions that run by themselves."""

from __future__ import annotations

import math
from typing import Any

from windlass import exception
from windlass.server.api import apps, door
from windlass.server.apply import apps as app_actions
from windlass.server.apply import calls, firings
from windlass.server.state import machines
from windlass.server.store import apps as rows
from windlass.wire import peer
from windlass.wire.messages import schedules as messages

Core = door.Core


@door.handler("schedule.list")
def listed(core: Core, who: door.Who, body: messages.ScheduleList, incoming: peer.Incoming) -> Any:
    app = core.world.apps.get(body["app_id"])
    if app is None and rows.by_id(core.db, body["app_id"]) is None:
        raise exception.NotFoundError(f"no app {body['app_id']}")
    functions = app_actions.functions_of(core, app) if app is not None else []
    return {"schedules": [_info(core, function) for function in functions if firings.has_schedule(function)]}


def _info(core: Core, function: machines.Function) -> messages.Schedule:
    entry = core.world.schedules.get(function.n)
    return {
        "function_id": function.id,
        "tag": function.tag,
        "schedule": function.spec["schedule"],
        "next_at": entry.plan.next_at if entry is not None and not math.isinf(entry.plan.next_at) else None,
        "fired_at": entry.fired_at if entry is not None else None,
        "call_id": entry.call_id if entry is not None else None,
    }


@door.handler("schedule.fire", "function_id", "call_id")
def fire(core: Core, who: door.Who, body: messages.ScheduleFire, incoming: peer.Incoming) -> Any:
    function = apps.function_of(core, body["function_id"])
    if not firings.has_schedule(function):
        raise exception.InvalidError(
            f"function {function.tag!r} has no schedule", hint="Call it: `Function.from_name(app, name).remote()`."
        )
    if calls.find(core, body["call_id"]) is None:
        core.turn.begin()
        firings.run_now(core, function, body["call_id"])
    return {}
