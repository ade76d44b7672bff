"""``sandbox.create`` to ``sandbox.terminate``: into being, found again, waited for, named, ended."""

from __future__ import annotations

import functools
from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.api import apps as app_api
from windlass.server.api import door
from windlass.server.api.sandboxes import waiting
from windlass.server.apply import buckets as bucket_actions
from windlass.server.apply import disk, environments, proxies
from windlass.server.apply import gpus as gpu_actions
from windlass.server.apply import images as image_actions
from windlass.server.apply import nfs as nfs_actions
from windlass.server.apply import sandboxes as actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.decide import gpus, place, ports
from windlass.server.decide import sandboxes as decisions
from windlass.server.state import sandboxes as state
from windlass.server.store import apps, sandboxes, secrets
from windlass.server.store import web as web_rows
from windlass.wire import peer
from windlass.wire.messages import sandboxes as messages

Core = door.Core
_PAGE = 100
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
    disk.check(core)
    app = app_api.living(core, body["app_id"])
    bucket_actions.bound(core, body["spec"].get("buckets", []), is_owner=who.is_owner)
    check(core, body)
    return actions.info(core, actions.create(core, app, body))


def check(core: Core, body: messages.SandboxCreate) -> None:
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
        return waiting.info(core, body["sandbox_id"])
    seconds = min(body["seconds"], waiting.LONGEST)
    task = core.tasks.start(_waited(core, one, body["until"], seconds, incoming), f"wait for {one.id}")
    incoming.on_cancel = functools.partial(waiting.give_up, task)
    return None


async def _waited(core: Core, one: state.Sandbox, until: str, seconds: float, incoming: peer.Incoming) -> None:
    await waiting.until(core, one, until, seconds)
    try:
        incoming.reply(waiting.info(core, one.id))
    except exception.Error as exc:
        incoming.fail(exc)


@door.handler("sandbox.terminate")
def terminate(core: Core, who: door.Who, body: messages.SandboxRef, incoming: peer.Incoming) -> Any:
    waiting.info(core, body["sandbox_id"])
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


@door.handler("sandbox.figures")
def figures(core: Core, who: door.Who, body: messages.SandboxFiguresQuery, incoming: peer.Incoming) -> Any:
    found = sandboxes.figures(core.db, body["app_id"], body["since"], body["until"])
    living = [one.state for one in actions.of_app(core, body["app_id"])]
    return decisions.figures(found.created, found.ended, found.starts, living)
