"""``sandbox.exec`` and all else that the worker answers: commands, input, files, mounted images."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from windlass import exception
from windlass.server.api import door
from windlass.server.api.sandboxes import waiting
from windlass.server.apply import images as image_actions
from windlass.server.apply import logs as log_actions
from windlass.server.apply import sandboxes as actions
from windlass.server.apply import secrets as secret_actions
from windlass.server.decide import sandboxes as decisions
from windlass.server.state import machines
from windlass.server.state import sandboxes as state
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core


def _handed_on(method: str, *needs: str, used: bool = True) -> None:
    """Let the worker answer ``method``."""

    @door.handler(method, *needs)
    def answer(core: Core, who: door.Who, body: Any, incoming: peer.Incoming) -> None:
        one = core.world.sandboxes.get(body["sandbox_id"])
        if used and one is not None:
            actions.used(core, one)
        task = core.tasks.start(_pass_on(core, one, method, body, incoming), f"{method} of {body['sandbox_id']}")
        incoming.on_cancel = functools.partial(waiting.give_up, task)
        if method == "sandbox.exec":  # it is not idle while a command is on its way, which its worker will tell of
            actions.visited(core, body["sandbox_id"], 1)
            task.add_done_callback(lambda _: actions.visited(core, body["sandbox_id"], -1))


for _method in ("stdin", "exec", "exec_write", "file", "unmount"):
    _handed_on(f"sandbox.{_method}", "sandbox_id")
for _method in ("exec_wait", "exec_read", "exec_kill", "watch"):
    _handed_on(f"sandbox.{_method}", "sandbox_id", used=False)


@door.handler("sandbox.exec_hold", "sandbox_id", "exec_id")
def hold(core: Core, who: door.Who, body: messages.ExecRef, incoming: peer.Incoming) -> None:
    """As long as somebody listens. When the last one has gone for a while, the command is of no use to anybody."""
    core.holds[body["exec_id"]] = core.holds.get(body["exec_id"], 0) + 1
    incoming.on_cancel = functools.partial(_let_go, core, body)


def _let_go(core: Core, body: messages.ExecRef) -> None:
    identity = body["exec_id"]
    core.holds[identity] -= 1
    core.tasks.start(_kill_unheld(core, body), f"end of {identity}")


async def _kill_unheld(core: Core, body: messages.ExecRef) -> None:
    await core.clock.sleep(core.settings.reconnect)
    identity = body["exec_id"]
    one = core.world.sandboxes.get(body["sandbox_id"])
    if core.holds.get(identity, 0) > 0:
        return
    if core.holds.pop(identity, None) is None or one is None:
        return
    with contextlib.suppress(exception.Error):  # it has ended, or its worker comes back without it
        where, container_id = await waiting.place_of(core, one, one.id, ended=True)
        await where.peer.request("sandbox.exec_kill", {"sandbox_id": container_id, "exec_id": identity})


@door.handler("sandbox.mount", "sandbox_id", "path", "image_id")
def mount(core: Core, who: door.Who, body: messages.SandboxMount, incoming: peer.Incoming) -> None:
    image_actions.existing(core, body["image_id"])
    image_actions.touch(core, body["image_id"])
    one = core.world.sandboxes.get(body["sandbox_id"])
    task = core.tasks.start(_pass_on(core, one, "sandbox.mount", body, incoming), f"mount in {body['sandbox_id']}")
    incoming.on_cancel = functools.partial(waiting.give_up, task)


async def _pass_on(core: Core, one: state.Sandbox | None, method: str, body: Any, incoming: peer.Incoming) -> None:
    begun = method.startswith("sandbox.exec_")
    try:
        where, container_id = await waiting.place_of(core, one, body["sandbox_id"], ended=begun)
        if one is not None and one.spec.get("verbose"):
            _note(core, one, decisions.said(method, body))
        request = {**body, "sandbox_id": container_id}  # workers know containers
        if method == "sandbox.exec" and (identities := request.pop("secrets", [])):
            request["env"] = {**secret_actions.environment_of(core, identities), **request.get("env", {})}
        if incoming.kind == "s":
            await _stream(where, method, request, incoming)
        else:
            reply = await where.peer.request(method, request, incoming.attachments)
            incoming.reply(reply.body, reply.attachments)
    except exception.Error as exc:
        incoming.fail(exc)


def _note(core: Core, one: state.Sandbox, said: str) -> None:
    if said and one.container is not None:
        log_actions.system(core, one.container, said)


async def _stream(where: machines.Worker, method: str, request: Any, incoming: peer.Incoming) -> None:
    stream = where.peer.stream(method, request)
    try:
        async for item in stream:
            incoming.item(item.body, item.attachments)
            await incoming.peer.drain()
        incoming.end()
    finally:
        await stream.aclose()
