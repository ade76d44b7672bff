"""Is the store of images whole, and do rows and folders agree? Workers look; what is damaged goes, if it is to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import images as image_actions
from windlass.server.apply import prune
from windlass.server.decide import prune as decisions
from windlass.server.state import machines
from windlass.server.store import images
from windlass.wire.messages import upkeep

Core = core_module.Core
Tell = Callable[[upkeep.FsckEvent], None]

_SILENCE = 600.0  # seconds for a worker to get on to the next layer
_REMOVED = frozenset({"no record", "changed", "missing layer", "draft", "orphan"})


async def check(core: Core, *, repair: bool, tell: Tell) -> None:
    """Tell how far it is, then what was found. ``repair``: remove what is damaged and what stands on it."""
    prune.need_worker(core)
    findings: list[upkeep.Finding] = []
    checked = 0
    async with core.upkeep if repair else contextlib.nullcontext():
        for worker in list(core.world.workers.values()):
            checked += await _look(worker, findings, tell)
        findings += await _disagreements(core)
        removed = await _repair(core, findings) if repair else set[str]()
    for finding in findings:
        tell({"finding": finding})
    tell({"checked": checked, "removed": sorted(removed)})


async def _look(worker: machines.Worker, findings: list[upkeep.Finding], tell: Tell) -> int:
    checked = 0
    async with contextlib.aclosing(worker.peer.stream("store.check", {})) as events:
        while True:
            try:
                event: upkeep.FsckEvent = (await asyncio.wait_for(anext(events), _SILENCE)).body
            except StopAsyncIteration:
                return checked
            except asyncio.TimeoutError:
                raise exception.TimeoutError(f"the worker said nothing for {_SILENCE:g} s") from None
            checked += event.get("checked", 0)
            if "finding" in event:
                findings.append(event["finding"])
            elif "of" in event:
                tell(event)


async def _disagreements(core: Core) -> list[upkeep.Finding]:
    """Rows without images, images without rows."""
    survey = await prune.look(core)
    found: list[upkeep.Finding] = [
        {"name": image_id, "kind": "no image", "detail": "no worker has it; it is built again when it is needed"}
        for image_id in sorted(survey.rows.keys() - survey.sizes.keys())
        if image_actions.lost(core, image_id)
    ]
    found += [
        {"name": image_id, "kind": "unknown", "detail": "this platform does not know it; a build of its steps finds it"}
        for image_id in sorted(one for one, image in survey.images.items() if not image.known)
    ]
    return found


async def _repair(core: Core, findings: list[upkeep.Finding]) -> set[str]:
    survey = await prune.look(core)
    records = {image_id: image.layers for image_id, image in survey.images.items()}
    broken = {finding["name"] for finding in findings if finding["kind"] in _REMOVED}
    done = await prune.remove(core, decisions.damaged(records, broken)) if broken else prune.Removed(set(), 0)
    lost = [finding["name"] for finding in findings if finding["kind"] == "no image"]
    core.turn.begin()
    images.forget(core.db, lost)
    for finding in findings:
        _judge(finding, done.names.union(lost))
    return done.names.union(lost)


def _judge(finding: upkeep.Finding, gone: set[str]) -> None:
    finding["repaired"] = finding["name"] in gone
    if finding["repaired"] or finding["kind"] in upkeep.HARMLESS:
        return
    if finding["kind"] == "stray":
        finding["remark"] = "it is not ours: remove it by hand"
    else:
        finding["remark"] = "it is in use: stop the app that runs on it, or wait for the build, and repair again"
