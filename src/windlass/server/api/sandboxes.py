"""``sandbox.*``: the life of sandboxes here; commands, files and snapshots are handed on to the worker."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Coroutine
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import apps as app_api
from windlass.server.api import door
from windlass.server.apply import buckets as bucket_actions
from windlass.server.apply import connect_tokens, environments, proxies
from windlass.server.apply import gpus as gpu_actions
from windlass.server.apply import identity as identity_actions
from windlass.server.apply import images as image_actions
from windlass.server.apply import logs as log_actions
from windlass.server.apply import nfs as nfs_actions
from windlass.server.apply import sandboxes as actions
from windlass.server.apply import secrets as secret_actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.decide import gpus, place, ports
from windlass.server.decide import sandboxes as decisions
from windlass.server.state import machines, moves
from windlass.server.state import sandboxes as state
from windlass.server.store import apps, sandboxes, secrets
from windlass.server.store import images as image_rows
from windlass.server.store import web as web_rows
from windlass.wire import peer
from windlass.wire.messages import common
from windlass.wire.messages import sandboxes as messages

Core = door.Core
_PAGE = 100
_LONGEST_WAIT = 60.0
_MOST_FORKS = 100
_MIB = 1024 * 1024


@door.handler("sandbox.create")
def create(core: Core, who: door.Who, body: messages.SandboxCreate, incoming: peer.Incoming) -> Any:
    identity = body["sandbox_id"]
    if not ids.is_id(identity, "sb"):
        raise exception.InvalidError(f"not a sandbox id: {identity[:60]!r}")
    if (known := core.world.sandboxes.get(identity)) is not None:
        return actions.info(core, known)
    if (row := sandboxes.by_id(core.db, identity)) is not None:
        return actions.info_of_row(row)
    if core.low_disk:
        raise exception.ResourceExhaustedError(core.low_disk, hint="Free space on that disk and try again.")
    app = app_api.living(core, body["app_id"])
    bucket_actions.bound(core, body["spec"].get("buckets", []), is_owner=who.is_owner)
    _check(core, body)
    return actions.info(core, actions.create(core, app, body))


def _check(core: Core, body: messages.SandboxCreate) -> None:
    """Refuse what could never run."""
    spec = body["spec"]
    decisions.check(spec, body.get("name", ""), body.get("tags", {}))
    image_actions.existing(core, spec["image_id"])
    if workers := core.world.workers.values():
        place.check_request(
            cpu=spec["cpu_request"],
            memory=spec["memory_request"],
            cpus=max(worker.cpus for worker in workers),
            node_memory=max(worker.memory for worker in workers) // _MIB,
        )
        decisions.check_level(spec, [worker.levels for worker in workers])
        gpus.check(spec.get("gpus", []), [gpu_actions.of(worker) for worker in workers])
    ports.check(spec, web_rows.domains(core.db))
    volume_actions.check_mounts(core, spec.get("volumes", []))
    bucket_actions.check(core, spec.get("buckets", []), [one["path"] for one in spec.get("volumes", [])])
    nfs_actions.check_mounts(core, spec.get("nfs", []), spec.get("volumes", []))
    proxies.check(core, spec)
    for one in spec["secrets"]:
        if secrets.by_id(core.db, one) is None:
            raise exception.NotFoundError(f"no secret {one}")


@door.handler("sandbox.get")
def get(core: Core, who: door.Who, body: messages.SandboxGet, incoming: peer.Incoming) -> Any:
    row = sandboxes.by_id(core.db, body["sandbox_id"]) if "sandbox_id" in body else _named(core, body)
    if row is None:
        raise exception.NotFoundError(f"no sandbox {body.get('sandbox_id') or body.get('name', '')!r}")
    living = core.world.sandboxes.get(row.id)
    if living is None and "name" in body and not body.get("ended"):
        raise exception.NotFoundError(
            f"no sandbox named {body['name']!r} runs", hint="Pass include_terminated=True for one that has ended."
        )
    return actions.info_of_row(row) if living is None else actions.info(core, living)


def _named(core: Core, body: messages.SandboxGet) -> sandboxes.Row | None:
    environment = environments.named(core, body.get("environment"))
    app = apps.by_name(core.db, body.get("app_name", ""), environment, any_state=bool(body.get("ended")))
    if app is None:
        raise exception.NotFoundError(f"no app {body.get('app_name', '')!r} is deployed in {environment!r}")
    return sandboxes.by_name(core.db, app.id, body.get("name", ""))


@door.handler("sandbox.list")
def listed(core: Core, who: door.Who, body: messages.SandboxList, incoming: peer.Incoming) -> Any:
    if (environment := body.get("environment")) is not None:
        environments.row(core, environment)
    wanted = body.get("tags", {}).items()
    found: list[messages.SandboxInfo] = []
    before = body.get("before")
    while len(found) < _PAGE:
        rows = sandboxes.listed(
            core.db, app=body.get("app_id"), environment=environment, ended=body.get("ended", False), before=before,
            limit=_PAGE,
        )  # fmt: skip
        for row in rows:
            if wanted <= row.tags.items():
                living = core.world.sandboxes.get(row.id)
                found.append(actions.info_of_row(row) if living is None else actions.info(core, living))
        if len(rows) < _PAGE:
            break
        before = rows[-1].id
    return {"sandboxes": found}


@door.handler("sandbox.wait")
def wait(core: Core, who: door.Who, body: messages.SandboxWait, incoming: peer.Incoming) -> Any:
    if body["until"] not in ("running", "ready", "finished"):
        raise exception.InvalidError(f"a sandbox is never {body['until'][:40]!r}")
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is None or actions.reached(one, body["until"]) or body["seconds"] <= 0:
        return _info(core, body["sandbox_id"])
    seconds = min(body["seconds"], _LONGEST_WAIT)
    task = core.tasks.start(_waited(core, one, body["until"], seconds, incoming), f"wait for {one.id}")
    incoming.on_cancel = functools.partial(_give_up, task)
    return None


async def _waited(core: Core, one: state.Sandbox, until: str, seconds: float, incoming: peer.Incoming) -> None:
    await _until(core, one, until, seconds)
    try:
        incoming.reply(_info(core, one.id))
    except exception.Error as exc:
        incoming.fail(exc)


async def _until(core: Core, one: state.Sandbox, until: str, seconds: float) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    forget = actions.when(core, one, until, lambda: None if over.done() else over.set_result(None))
    try:
        await asyncio.wait_for(over, seconds)
    except asyncio.TimeoutError:
        pass
    finally:
        forget()


def _info(core: Core, identity: str) -> messages.SandboxInfo:
    if (one := core.world.sandboxes.get(identity)) is not None:
        return actions.info(core, one)
    if (row := sandboxes.by_id(core.db, identity)) is not None:
        return actions.info_of_row(row)
    raise exception.NotFoundError(f"no sandbox {identity}")


def _give_up(task: asyncio.Task[None]) -> None:
    task.cancel()


@door.handler("sandbox.terminate")
def terminate(core: Core, who: door.Who, body: messages.SandboxRef, incoming: peer.Incoming) -> Any:
    _info(core, body["sandbox_id"])
    if (one := core.world.sandboxes.get(body["sandbox_id"])) is not None:
        actions.terminate(core, one)
    return {}


@door.handler("sandbox.tags")
def tags(core: Core, who: door.Who, body: messages.SandboxTags, incoming: peer.Incoming) -> Any:
    row = sandboxes.by_id(core.db, body["sandbox_id"])
    if row is None:
        raise exception.NotFoundError(f"no sandbox {body['sandbox_id']}")
    decisions.check(row.spec, "", body["tags"])
    core.turn.begin()
    sandboxes.set_tags(core.db, row.n, body["tags"])
    if (one := core.world.sandboxes.get(row.id)) is not None:
        one.tags = body["tags"]
    return {}


@door.handler("sandbox.output", "sandbox_id")
def output(core: Core, who: door.Who, body: messages.SandboxOutput, incoming: peer.Incoming) -> None:
    """What its entrypoint wrote, from the beginning; until it has ended and its last word is out."""
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is not None and one.container is None and body.get("follow", True):
        task = core.tasks.start(_output_later(core, one, body, incoming), f"output of {one.id}")
        incoming.on_cancel = functools.partial(_give_up, task)
        return
    _follow(core, body, incoming)


async def _output_later(
    core: Core, one: state.Sandbox, body: messages.SandboxOutput, incoming: peer.Incoming
) -> None:
    while one.alive and one.container is None and incoming.open:
        await _until(core, one, "running", _LONGEST_WAIT)
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


# -- what the worker does ---------------------------------------------------------------------------------------


def _handed_on(method: str, *needs: str, used: bool = True) -> None:
    """Let the worker answer ``method``."""

    @door.handler(method, *needs)
    def answer(core: Core, who: door.Who, body: Any, incoming: peer.Incoming) -> None:
        one = core.world.sandboxes.get(body["sandbox_id"])
        if used and one is not None:
            actions.used(core, one)
        task = core.tasks.start(_pass_on(core, one, method, body, incoming), f"{method} of {body['sandbox_id']}")
        incoming.on_cancel = functools.partial(_give_up, task)


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
        where, container_id = await _place_of(core, one, one.id, ended=True)
        await where.peer.request("sandbox.exec_kill", {"sandbox_id": container_id, "exec_id": identity})


@door.handler("sandbox.mount", "sandbox_id", "path", "image_id")
def mount(core: Core, who: door.Who, body: messages.SandboxMount, incoming: peer.Incoming) -> None:
    image_actions.existing(core, body["image_id"])
    image_actions.touch(core, body["image_id"])
    one = core.world.sandboxes.get(body["sandbox_id"])
    task = core.tasks.start(_pass_on(core, one, "sandbox.mount", body, incoming), f"mount in {body['sandbox_id']}")
    incoming.on_cancel = functools.partial(_give_up, task)


async def _pass_on(
    core: Core, one: state.Sandbox | None, method: str, body: Any, incoming: peer.Incoming
) -> None:
    try:
        where, container_id = await _place_of(core, one, body["sandbox_id"], ended=method.startswith("sandbox.exec_"))
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


async def _place_of(
    core: Core, one: state.Sandbox | None, identity: str, *, ended: bool
) -> tuple[machines.Worker, str]:
    """Its worker and its container, once it runs. ``ended``: also of one that has ended. Raises ``ConflictError``."""
    while one is not None and one.alive and one.state < moves.SandboxState.RUNNING:
        await _until(core, one, "running", _LONGEST_WAIT)
    living = core.world.sandboxes.get(identity)
    row = sandboxes.by_id(core.db, identity) if living is None else None
    if living is None and row is None:
        raise exception.NotFoundError(f"no sandbox {identity}")
    if living is not None and living.container is not None:
        container_id, node = living.container.id, living.container.node
    elif row is not None and row.container_id and row.node and ended:
        container_id, node = row.container_id, row.node
    else:
        story = f": {row.message}" if row is not None and row.message else ""
        raise exception.ConflictError(f"sandbox {identity} has finished{story}")
    worker = core.world.workers.get(node)
    if worker is None:
        raise exception.ServiceError(f"the worker of node {node} is not connected")
    return worker, container_id


@door.handler("sandbox.snapshot", "sandbox_id")
def snapshot(core: Core, who: door.Who, body: messages.SnapshotRequest, incoming: peer.Incoming) -> None:
    _begun(core, body["sandbox_id"], _snapshot(core, body, incoming), incoming)


@door.handler("sandbox.fork", "sandbox_id")
def fork(core: Core, who: door.Who, body: messages.SandboxFork, incoming: peer.Incoming) -> None:
    if not 0 < len(body["fork_ids"]) <= _MOST_FORKS or not all(ids.is_id(one, "sb") for one in body["fork_ids"]):
        raise exception.InvalidError(f"a sandbox is forked into 1 to {_MOST_FORKS} new ones at once")
    _begun(core, body["sandbox_id"], _fork(core, body, incoming), incoming)


async def _fork(core: Core, body: messages.SandboxFork, incoming: peer.Incoming) -> Any:
    """One layer of what was changed, and the new ones on it. Repeating is harmless."""
    wanted = body["fork_ids"]
    if any(sandboxes.by_id(core.db, one) is None for one in wanted):
        made = await _snapshot(core, {**_snapshot_of(body), "ttl": decisions.MOST_TIME}, incoming)
        one = core.world.sandboxes.get(body["sandbox_id"])
        if one is None:
            raise exception.ConflictError(f"sandbox {body['sandbox_id']} has finished")
        spec: messages.SandboxSpec = {**one.spec, "image_id": made["image_id"], "mounts": made["mounts"]}
        fresh = [identity for identity in wanted if sandboxes.by_id(core.db, identity) is None]
        actions.check_room(core, one.app, len(fresh))  # all of them or none
        core.turn.begin()
        for identity in fresh:
            asked: messages.SandboxCreate = {
                "app_id": one.app.id, "sandbox_id": identity, "spec": spec, "tags": dict(one.tags)
            }  # fmt: skip
            actions.create(core, one.app, asked)
        await _committed(core)
    return {"sandboxes": [_info(core, identity) for identity in wanted]}


def _snapshot_of(body: messages.SandboxFork) -> messages.SnapshotRequest:
    return {"sandbox_id": body["sandbox_id"], "seconds": body.get("seconds", _LONGEST_WAIT)}


@door.handler("sandbox.reload", "sandbox_id")
def reload(core: Core, who: door.Who, body: messages.SandboxReload, incoming: peer.Incoming) -> None:
    _begun(core, body["sandbox_id"], _reload(core, body, incoming), incoming)


def _begun(core: Core, identity: str, work: Coroutine[Any, Any, Any], incoming: peer.Incoming) -> None:
    if (one := core.world.sandboxes.get(identity)) is not None:
        actions.used(core, one)
    task = core.tasks.start(_answered(work, incoming), f"{incoming.method} of {identity}")
    incoming.on_cancel = functools.partial(_give_up, task)


async def _answered(work: Coroutine[Any, Any, Any], incoming: peer.Incoming) -> None:
    try:
        incoming.reply(await work)
    except asyncio.TimeoutError:
        incoming.fail(exception.TimeoutError("it took longer than its timeout"))
    except exception.Error as exc:
        incoming.fail(exc)


async def _snapshot(core: Core, body: messages.SnapshotRequest, incoming: peer.Incoming) -> messages.SnapshotReply:
    one = core.world.sandboxes.get(body["sandbox_id"])
    where, container_id = await _place_of(core, one, body["sandbox_id"], ended=False)
    assert one is not None
    path, image_id, parent = body.get("path", ""), ids.new("im"), one.spec["image_id"]
    plan: messages.SnapshotPlan = {
        "sandbox_id": container_id, "path": path, "image_id": image_id, "parent": parent
    }  # fmt: skip
    taken = where.peer.request("sandbox.snapshot", plan)
    reply = await asyncio.wait_for(taken, body.get("seconds", _LONGEST_WAIT))
    meta = reply.body["meta"]
    recipe = snapshot_recipe(core, one, *([path] if path else []))
    now, ttl = core.clock.now(), body.get("ttl")
    core.turn.begin()
    image_rows.insert(
        core.db, image_id=image_id, key=f"snapshot {image_id}", parent=None if path else parent, recipe=recipe,
        meta=meta, now=now, current=False,
    )  # fmt: skip
    sandboxes.add_snapshot(core.db, image_id, None if ttl is None else now + ttl)
    where.images.add(image_id)
    await _committed(core)
    return {"image_id": image_id, "python": meta["python"], "mounts": [] if path else one.spec["mounts"]}


def snapshot_recipe(core: Core, one: state.Sandbox, *what: str) -> Any:
    """What is written down of a snapshot: of which sandbox, and whose it is also when that is forgotten."""
    place = identity_actions.parts(core).get(one.app.environment)
    return {"op": "snapshot", "commands": [one.id, *what], **({"environment": place.id} if place is not None else {})}


async def _committed(core: Core) -> None:
    """Until what was changed in this turn is durable."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    core.turn.after.append(lambda: done.set_result(None))
    try:
        await asyncio.wait_for(done, _LONGEST_WAIT)
    except asyncio.TimeoutError:
        raise exception.InternalError("what was changed could not be recorded") from None


@door.handler("sandbox.tunnels")
def tunnels(core: Core, who: door.Who, body: messages.SandboxTunnels, incoming: peer.Incoming) -> None:
    _begun(core, body["sandbox_id"], _tunnels(core, body), incoming)


async def _tunnels(core: Core, body: messages.SandboxTunnels) -> messages.SandboxTunnelsReply:
    one = await asyncio.wait_for(_running(core, body["sandbox_id"]), body.get("seconds", _LONGEST_WAIT))
    if not one.spec.get("ports"):
        return {"tunnels": []}
    if core.web.ports is None:
        raise door.no_edge(core)
    core.turn.begin()
    found = core.web.ports.of(one)
    await _committed(core)
    return {"tunnels": [each._asdict() for each in found]}


async def _running(core: Core, identity: str) -> state.Sandbox:
    """Raises ``ConflictError`` where it has ended."""
    while (one := core.world.sandboxes.get(identity)) is not None and one.state < moves.SandboxState.RUNNING:
        await _until(core, one, "running", _LONGEST_WAIT)
    if one is None:
        raise exception.ConflictError(f"sandbox {_info(core, identity)['sandbox_id']} has finished")
    return one


@door.handler("sandbox.figures")
def figures(core: Core, who: door.Who, body: messages.SandboxFiguresQuery, incoming: peer.Incoming) -> Any:
    found = sandboxes.figures(core.db, body["app_id"], body["since"], body["until"])
    living = [one.state for one in actions.of_app(core, body["app_id"])]
    return decisions.figures(found.created, found.ended, found.starts, living)


@door.handler("sandbox.token")
def token(core: Core, who: door.Who, body: messages.SandboxToken, incoming: peer.Incoming) -> Any:
    one = core.world.sandboxes.get(body["sandbox_id"])
    if one is None:
        raise exception.ConflictError(f"sandbox {_info(core, body['sandbox_id'])['sandbox_id']} has finished")
    if core.web.port <= 0:
        raise door.no_edge(core)
    return connect_tokens.create(core, one, body["port"], body.get("metadata"))


async def _reload(core: Core, body: messages.SandboxReload, incoming: peer.Incoming) -> common.Empty:
    one = core.world.sandboxes.get(body["sandbox_id"])
    where, container_id = await _place_of(core, one, body["sandbox_id"], ended=False)
    assert one is not None
    if level := one.spec.get("runtime", ""):
        raise exception.UnimplementedError(f"the volumes of a sandbox with runtime={level!r} cannot be reloaded")

    async def all_of_them() -> None:
        for mount in one.spec.get("volumes", []):
            take = {"container_id": container_id, "volume_id": mount["volume_id"], "reload": True}
            await where.peer.request("volume.take", take)

    await asyncio.wait_for(all_of_them(), body.get("seconds", _LONGEST_WAIT))
    return {}
