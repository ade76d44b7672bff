"""Which templates there are: made when the first container of their kind is wanted, dropped when nobody wants more.

    of(plan) ──► making: template and keeper start ──► reached: forks ──► retired: the last fork's end is the end
                     └─ refused, failed: containers of this kind start cold, and their log says why once

A kind is everything that makes containers alike: function, code, image, mounts, secrets, limits. The template's control
group holds the memory that its forks share; it has the function's own limit.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from windlass import exception
from windlass.kit import tasks
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker.snapshots import reserve, spare, stock, template, transplant

_log = logging.getLogger(__name__)
_IDLE = 300.0  # seconds without a new fork after which a template goes
_OLD = 7 * 86400.0
_MOST = 16  # templates on one machine
_SCARCE = 0.05  # of the machine's memory: when less is free, idle templates go first
_LOOK = 5.0
_AGAIN = 60.0  # seconds after which a template that failed is tried again
_REMEMBERED = 1000
_MIB = 1024 * 1024
_REQUEST = 128  # MiB of a container that asks for none, as the server reckons


class Launcher(Protocol):
    """Starts the container of a template (``forks.Forks``)."""

    def run(
        self, plan: containers.ContainerPlan, family: template.Family
    ) -> contextlib.AbstractAsyncContextManager[asyncio.Future[int]]:
        """Run it; the future is of its exit status."""

    async def cell(self, plan: containers.ContainerPlan, family: template.Family) -> stock.Cell:
        """Have the template fork, and the fork wait where a container of that plan shall be."""


class Refusal:
    """Why there is no template, for some seconds; told once."""

    def __init__(self, why: str, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self._why = why
        self._told = False

    def tell(self) -> stock.Cold:
        why = "" if self._told else self._why
        self._told = True
        return stock.Cold(why, self._forget if why else lambda: None)

    def _forget(self) -> None:
        self._told = False


class Families:
    """All templates of this machine. ``memory``: its bytes."""

    def __init__(self, root: Path, *, memory: int) -> None:
        self._root = root
        self._launcher: Launcher | None = None
        self._known: dict[str, template.Family] = {}
        self._refused: dict[str, Refusal] = {}
        """By kind."""
        self._kinds: dict[str, str] = {}
        """Of containers that are about to be made."""
        self._tasks = tasks.Tasks()
        self._memory = memory
        self._spare = spare.Spare()
        self._scarce = False
        (root / folders.FAMILIES).mkdir(exist_ok=True)
        (root / folders.FAMILIES).chmod(0o711)

    async def __aenter__(self) -> Families:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    def serve(self, launcher: Launcher, adopt: Callable[[str], Any]) -> None:
        """Begin. ``adopt``: sees to the end of a family that an earlier worker has left."""
        self._launcher = launcher
        for name in folders.known(self._root, folders.FAMILIES):
            self._tasks.start(adopt(name), f"family {name}")
        self._tasks.start(self._look(), "templates that nobody needs")

    def keep(self, functions: Collection[str]) -> None:
        """Give up the templates of all other functions."""
        for family in list(self._known.values()):
            if family.function_id not in functions and family.reached.done():
                family.close()

    def functions(self) -> list[str]:
        """Whose templates there are."""
        return [family.function_id for family in self._known.values()]

    async def settle(self, plan: containers.ContainerPlan) -> None:
        """Wait until it is known whether there is a template of this kind; one is made where there is none."""
        if len(self._kinds) >= _REMEMBERED:
            self._kinds.clear()  # of some that were stopped before they began
        kind = self._kinds[plan["container_id"]] = kind_of(plan)
        await self._settled(kind, plan)

    async def _settled(self, kind: str, plan: containers.ContainerPlan) -> None:
        if self._refusal(kind) is not None:
            return
        if not transplant.possible():
            self._refused[kind] = Refusal("this kind of processor is not supported", _OLD)
            return
        family = self._known.get(kind)
        if family is None or family.over:
            family = self._make(kind, plan)
        try:
            await asyncio.wait_for(asyncio.shield(family.reached), plan["runner"]["spec"]["startup_timeout"])
        except asyncio.TimeoutError:
            family.close()
            self._refused[kind] = Refusal("it was not made within the time for starting", _AGAIN)
        except stock.Cold as exc:
            lasting = not str(exc).startswith("making it failed") and not family.over
            self._refused.setdefault(kind, Refusal(str(exc), _OLD if lasting else _AGAIN))

    async def of(self, plan: containers.ContainerPlan) -> template.Family:
        """The template of this kind. Raises ``stock.Cold``."""
        kind = self._kinds.pop(plan["container_id"], "") or kind_of(plan)
        await self._settled(kind, plan)
        if (refusal := self._refusal(kind)) is not None:
            raise refusal.tell()
        if (family := self._known.get(kind)) is None:
            raise stock.Cold("its template has ended")
        return family

    def _refusal(self, kind: str) -> Refusal | None:
        known = self._refused.get(kind)
        if known is not None and time.monotonic() >= known.until:
            del self._refused[kind]
            return None
        return known

    def _make(self, kind: str, plan: containers.ContainerPlan) -> template.Family:
        for other in list(self._known.values()):
            if other.function_id == plan["function_id"]:
                other.close()
        by_use = sorted(self._known.values(), key=lambda family: family.stock.used_at)
        for other in by_use[: max(0, len(by_use) + 1 - _MOST)]:
            other.close()
        family = self._known[kind] = template.Family(kind, self._root, plan, ceiling=_ceiling(plan, self._memory))
        self._tasks.start(self._live(family, plan), f"template {family.id}")
        return family

    async def _live(self, family: template.Family, plan: containers.ContainerPlan) -> None:
        assert self._launcher is not None
        try:
            async with self._launcher.run(template_plan(plan, family.id), family) as ended:
                family.listen()
                launcher = self._launcher
                cells = self._tasks.start(self._fill(family, plan, launcher), f"cells of {family.id}")
                await asyncio.shield(ended)
                family.close()
                await cells  # they lie in the template's folder, which goes now
        except (exception.Error, OSError) as exc:
            _log.warning("template %s: %s", family.id, exc)
            template.reject(family.reached, stock.Cold(f"making it failed: {exc}"))
        finally:
            family.close()
            if self._known.get(family.kind) is family:
                del self._known[family.kind]

    async def _fill(self, family: template.Family, plan: containers.ContainerPlan, launcher: Launcher) -> None:
        try:
            await asyncio.shield(family.reached)
        except stock.Cold:
            return
        await family.stock.fill(lambda: launcher.cell(plan, family), lambda: self._share(family), self._spare)

    def _share(self, family: template.Family) -> int:
        """How many forks of it may wait beside those of others."""
        living = {one.id: one.stock.known() for one in self._known.values() if one.reached.done() and not one.over}
        return reserve.shares(living, self._memory, scarce=self._scarce).get(family.id, 0)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            now, self._scarce = time.monotonic(), _memory_is_scarce()
            for family in list(self._known.values()):
                idle, age = now - family.stock.used_at, now - family.made_at
                if family.reached.done() and spent(idle, age, scarce=self._scarce):
                    family.close()
                family.stock.look()


def _ceiling(plan: containers.ContainerPlan, memory: int) -> int:
    bounds = plan["runner"]["spec"].get("autoscaler") or {}
    request = plan.get("memory_request") or _REQUEST
    return reserve.ceiling(bounds.get("max_containers", 0), request * _MIB, memory)


def spent(idle: float, age: float, *, scarce: bool) -> bool:
    """Whether a template is to go. ``idle``: seconds since its last fork. ``scarce``: the machine's memory is."""
    return idle > (_LOOK if scarce else _IDLE) or age > _OLD


def kind_of(plan: containers.ContainerPlan) -> str:
    """Equal for containers that are alike in all but their identity."""
    alike: dict[str, Any] = {k: v for k, v in plan.items() if k not in ("container_id", "token", "runner")}
    alike["runner"] = {k: v for k, v in plan["runner"].items() if k not in ("container_id", "token")}
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()


def template_plan(plan: containers.ContainerPlan, name: str) -> containers.ContainerPlan:
    """The plan of a template for such containers: it has no token, so it cannot speak as one of them."""
    runner: containers.RunnerPlan = {
        **plan["runner"], "container_id": name, "token": "", "template": f"{template.DOOR}/sock",
    }  # fmt: skip
    return {**plan, "container_id": name, "token": "", "runner": runner}


def _memory_is_scarce() -> bool:
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        fields = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return fields.get("MemAvailable", 1) < _SCARCE * fields.get("MemTotal", 1)
