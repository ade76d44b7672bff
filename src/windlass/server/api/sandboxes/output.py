"""``sandbox.output``: what the command of a sandbox wrote, from the beginning."""

from __future__ import annotations

import functools
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.api.sandboxes import waiting
from windlass.server.apply import logs as log_actions
from windlass.server.state import sandboxes as state
from windlass.server.store import apps, sandboxes
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core


@door.handler("sandbox.output", "sandbox_id")
def output(core: Core, who: door.Who, body: messages.SandboxOutput, incoming: peer.Incoming) -> None:
    """What its entrypoint wrote, from the beginning; until it has ended and its last word is out."""
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is not None and one.container is None and body.get("follow", True):
        task = core.tasks.start(_output_later(core, one, body, incoming), f"output of {one.id}")
        incoming.on_cancel = functools.partial(waiting.give_up, task)
        return
    _follow(core, body, incoming)


async def _output_later(
    core: Core, one: state.Sandbox, body: messages.SandboxOutput, incoming: peer.Incoming
) -> None:
    while one.alive and one.container is None and incoming.open:
        await waiting.until(core, one, "running", waiting.LONGEST)
    try:
        _follow(core, body, incoming)
    except exception.Error as exc:
        incoming.fail(exc)


def _follow(core: Core, body: messages.SandboxOutput, incoming: peer.Incoming) -> None:
    row = sandboxes.by_id(core.db, body["sandbox_id"])
    if row is None:
        raise exception.NotFoundError(f"no sandbox {body['sandbox_id']}")
    app = apps.by_id(core.db, row.app_id)
    if row.container_id is None or app is None:
        incoming.end()  # it ended before it began
        return
    query: Any = {"container_id": row.container_id, "follow": body.get("follow", True)}
    if "source" in body:
        query["source"] = body["source"]
    _Output(core, app.n, app.id, query, incoming, row.id).start()


class _Output(log_actions.Follower):
    """Log entries of one sandbox: nothing follows its end."""

    __slots__ = ("_sandbox",)

    def __init__(self, core: Core, app_n: int, app_id: str, query: Any, incoming: peer.Incoming, sandbox: str) -> None:
        super().__init__(core, app_n, app_id, query, incoming)
        self._sandbox = sandbox

    def goes_on(self) -> bool:
        return super().goes_on() and self._sandbox in self.core.world.sandboxes
