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
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from windlass import exception
from windlass.kit import ids, tasks
from windlass.wire.messages import containers
from windlass.worker import cgroups, linux, network, packets, spec
from windlass.worker import folder as folders
from windlass.worker.snapshots import cell, keeper, reserve, spare, transplant

_log = logging.getLogger(__name__)
KIND = folders.FAMILIES
CELLS = "cells"
DOOR = "/__windlass/family"
_IDLE = 300.0  # seconds without a new fork after which a template goes
_OLD = 7 * 86400.0
_MOST = 16  # templates on one machine
_SCARCE = 0.05  # of the machine's memory: when less is free, idle templates go first
_LOOK = 5.0
_RETRY = 1.0
_CALM = 0.2  # seconds after a fork began in which none is made for later
_GENTLE = 0.05  # seconds between forks that are given back
_PATIENCE = 0.2  # seconds between looks for spare time
_AGAIN = 60.0  # seconds after which a template that failed is tried again
_FORK_TIME = 15.0
_KEEPER_TIME = 20.0
_REMEMBERED = 1000
_MIB = 1024 * 1024
_REQUEST = 128  # MiB of a container that asks for none, as the server reckons


class Cold(Exception):
    """There is no template, and why; "" where that was told already."""


class Launcher(Protocol):
    """Starts the container of a template (``forks.Forks``)."""

    def template(
        self, plan: containers.ContainerPlan, family: Family
    ) -> contextlib.AbstractAsyncContextManager[asyncio.Future[int]]:
        """Run it; the future is of its exit status."""

    async def cell(self, plan: containers.ContainerPlan, family: Family) -> Cell:
        """Have the template fork, and the fork wait where a container of that plan shall be."""


class Cell(NamedTuple):
    """A fork that waits in its place. ``first``: process 1 there; ``process``: the fork. ``held`` gives all back."""

    name: str
    folder: folders.Folder
    first: int
    process: int
    net: network.Network
    group: cgroups.Cgroup
    held: contextlib.AsyncExitStack


class Family:
    """One template and its keeper."""

    def __init__(self, kind: str, root: Path, plan: containers.ContainerPlan, *, ceiling: int = reserve.MOST) -> None:
        """``ceiling``: how many containers there may be of it at once."""
        self.kind = kind
        self._ceiling = ceiling
        self.function_id = plan["function_id"]
        self.id = ids.new("te")
        self.folder = folders.Folder(root, self.id, kind=KIND)
        self.key = keeper.new_key()
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.made_at = self.used_at = time.monotonic()
        self.keeper = self.keeper_start = 0
        self.over = False
        self._talk: packets.Conversation | None = None
        self._cells: list[Cell] = []
        self._demand = reserve.Demand()
        self._each = 0
        """Bytes of memory of a fork that waits."""
        self._lost: set[str] = set()
        """Cells whose fork has ended before it was a container."""
        self._wanted = asyncio.Event()
        self._due = True
        self._make: Callable[[], Awaitable[Cell]] | None = None
        self._spare = spare.Spare()
        self._told = False

    @property
    def door(self) -> Path:
        """The folder that the template sees as ``DOOR``."""
        return self.folder.path / "door"

    def keep(self, init: int, exits: Path) -> None:
        """Start the keeper for the template whose first process is ``init``. Blocks until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "windlass.worker.snapshots.keeper", str(theirs.fileno())],
                env=own_environment(),
                pass_fds=[theirs.fileno()], start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.keeper, self.keeper_start = process.pid, folders.start_time(process.pid)
        mask = sum(1 << linux.CAPABILITIES[name] for name in spec.CAPABILITIES)
        about: keeper.Family = {
            "init": init, "door": str(self.door / "sock"), "key": self.key, "capabilities": mask, "exits": str(exits),
        }  # fmt: skip
        ours.settimeout(_KEEPER_TIME)
        with contextlib.ExitStack() as failed:
            failed.callback(process.wait)
            failed.callback(process.kill)
            failed.callback(ours.close)
            try:
                ours.send(json.dumps(about).encode())
                answer = json.loads(ours.recv(packets.PACKET) or b"{}")
            except (OSError, ValueError) as exc:
                raise exception.ExecutionError(f"the keeper of a memory snapshot did not start: {exc}") from None
            if "ready" not in answer:
                raise exception.ExecutionError(f"no memory snapshot: {answer.get('failed', 'its keeper ended')}")
            failed.pop_all()
        self._talk = packets.Conversation(ours, told=self._take, over=self.close)

    def listen(self) -> None:
        assert self._talk is not None
        self._talk.listen()

    def close(self) -> None:
        """No more forks."""
        self.over = True
        self._wanted.set()
        if self._talk is not None:
            self._talk.close("the template was given up")
        self._fail("the template was given up")

    async def fill(self, make: Callable[[], Awaitable[Cell]], share: Callable[[], int], time_for: spare.Spare) -> None:
        """Keep ``share()`` forks ready, made when there is ``time_for`` it, until there shall be no more."""
        self._make = make
        self._spare = time_for
        try:
            await self._refill(make, share)
        except asyncio.CancelledError as exc:
            for ready in self._cells:  # the worker ends: the next one sees to what they hold
                await ready.held.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        while self._cells:
            await self._cells.pop().held.aclose()

    async def _refill(self, make: Callable[[], Awaitable[Cell]], share: Callable[[], int]) -> None:
        while not self.over:
            self._wanted.clear()
            try:
                await self._bury()
                pause = await self._step(make, share())
            except (Cold, exception.Error, OSError) as exc:
                _log.warning("a cell of %s: %s", self.id, exc)
                await asyncio.sleep(_RETRY)
                continue
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), pause)

    async def _step(self, make: Callable[[], Awaitable[Cell]], share: int) -> float | None:
        """One more, or one less. The seconds after which it is time to look again; None where all is as it shall be."""
        waiting, proven = len(self._cells), self._demand.proven(time.monotonic())
        if waiting > share:
            await self._cells.pop().held.aclose()
            return _GENTLE
        if waiting == share:
            return None
        if waiting >= max(proven, reserve.LEAST):
            self._due = False
        elif not self._due:
            return None  # who has just been taken shall not be late for one more
        if not self._spare.is_now(waiting, proven):
            return _PATIENCE
        with self._spare.used():
            self._cells.append(await make())
        return 0

    def known(self) -> reserve.Known:
        """What is to be known for its share of the forks that wait."""
        now = time.monotonic()
        return reserve.Known(self._demand.proven(now), now - self.used_at, self._ceiling, self._each)

    def look(self) -> None:
        """From time to time: weigh what waits, and give back what waits for nobody any more."""
        self._each = max((ready.group.used() for ready in self._cells), default=self._each)
        self._refresh()

    def _refresh(self) -> None:
        """It is time to make again what was taken."""
        self._due = True
        self._wanted.set()

    async def _bury(self) -> None:
        """Give back the cells whose forks have ended."""
        for spoiled in [known for known in self._cells if known.name in self._lost]:
            self._cells.remove(spoiled)
            self._lost.remove(spoiled.name)
            await spoiled.held.aclose()

    async def take(self) -> Cell:
        """A fork: a ready one, or made now. Raises ``Cold``."""
        self.used_at = time.monotonic()
        self._demand.note(self.used_at)
        if self.over or self._make is None:
            raise Cold("its template has ended")
        with self._spare.wanted():
            ready = next((known for known in self._cells if known.name not in self._lost), None)
            if ready is None:
                try:
                    return await self._make()
                except (OSError, exception.Error) as exc:
                    raise Cold(f"it could not be forked: {exc}") from None
            self._cells.remove(ready)
            return ready

    async def furnish(self, name: str, plan: cell.Plan) -> int:
        """Have a cell made; the pid of its first process. Raises ``Cold``."""
        return await self._ask(name, {"cell": {"id": name, "plan": plan}})

    async def fork(self, name: str, doors: Sequence[Path]) -> int:
        """Have a fork made in that cell, and in the control groups of ``doors``; it waits there for ``go``. Its pid.
        Raises ``Cold``."""
        return await self._ask(name, {"fork": {"cell": name, "doors": [str(door) for door in doors]}})

    async def _ask(self, name: str, body: dict[str, Any]) -> int:
        try:
            if self._talk is None:
                raise OSError("it is gone")
            said = await self._talk.ask(name, body, _FORK_TIME)
        except asyncio.TimeoutError:
            self.close()
            raise Cold("its template did not fork in time") from None
        except OSError as exc:
            raise Cold(f"its template cannot be asked: {exc}") from None
        if "pid" not in said:
            raise Cold(f"the fork failed: {said.get('failed')}")
        return int(said["pid"])

    def go(self, ready: Cell, name: str) -> None:
        """Let it run as this container. The next one is made later: that would make it late. Raises ``Cold``."""
        asyncio.get_running_loop().call_later(_CALM, self._refresh)
        if ready.name in self._lost:
            self._lost.remove(ready.name)
            raise Cold("the fork has ended before it began")
        self._say({"go": {"cell": ready.name, "id": name, "log": str(ready.folder.log)}})

    def log_of_making(self) -> bytes:
        """What the template wrote until the fork point: for the log of the first fork."""
        if self._told:
            return b""
        self._told = True
        return self.folder.log.read_bytes()

    def _say(self, body: dict[str, Any]) -> None:
        try:
            if self._talk is None:
                raise OSError("it is gone")
            self._talk.say(body)
        except OSError as exc:
            raise Cold(f"its template cannot be asked: {exc}") from None

    def _take(self, body: dict[str, Any]) -> bool:
        if "template" in body:
            self._template(body["template"])
        elif "lost" in body:
            self._lost.add(body["lost"])
            self._refresh()
        else:
            return False
        return True

    def _template(self, words: Any) -> None:
        said = words if isinstance(words, dict) else {}
        if "ready" in said:
            _resolve(self.reached, None)
        elif "refused" in said:
            _reject(self.reached, Cold(str(said["refused"])))
        elif "failed" in said:
            _reject(self.reached, Cold(f"making it failed: {said['failed']}"))
        else:
            self.over = True
            self._wanted.set()
            self._fail("the template has ended")

    def _fail(self, why: str) -> None:
        _reject(self.reached, Cold(why))


class Refusal:
    """Why there is no template, for some seconds; told once."""

    def __init__(self, why: str, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self._why = why

    def tell(self) -> str:
        why, self._why = self._why, ""
        return why


class Families:
    """All templates of this machine. ``memory``: its bytes."""

    def __init__(self, root: Path, *, memory: int) -> None:
        self._root = root
        self._launcher: Launcher | None = None
        self._known: dict[str, Family] = {}
        self._refused: dict[str, Refusal] = {}
        """By kind."""
        self._kinds: dict[str, str] = {}
        """Of containers that are about to be made."""
        self._tasks = tasks.Tasks()
        self._memory = memory
        self._spare = spare.Spare()
        self._scarce = False
        (root / KIND).mkdir(exist_ok=True)
        (root / KIND).chmod(0o711)

    async def __aenter__(self) -> Families:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    def serve(self, launcher: Launcher, adopt: Callable[[str], Any]) -> None:
        """Begin. ``adopt``: sees to the end of a family that an earlier worker has left."""
        self._launcher = launcher
        for name in folders.known(self._root, KIND):
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
        except Cold as exc:
            lasting = not str(exc).startswith("making it failed") and not family.over
            self._refused.setdefault(kind, Refusal(str(exc), _OLD if lasting else _AGAIN))

    async def of(self, plan: containers.ContainerPlan) -> Family:
        """The template of this kind. Raises ``Cold``."""
        kind = self._kinds.pop(plan["container_id"], "") or kind_of(plan)
        await self._settled(kind, plan)
        if (refusal := self._refusal(kind)) is not None:
            raise Cold(refusal.tell())
        if (family := self._known.get(kind)) is None:
            raise Cold("its template has ended")
        return family

    def _refusal(self, kind: str) -> Refusal | None:
        known = self._refused.get(kind)
        if known is not None and time.monotonic() >= known.until:
            del self._refused[kind]
            return None
        return known

    def _make(self, kind: str, plan: containers.ContainerPlan) -> Family:
        for other in list(self._known.values()):
            if other.function_id == plan["function_id"]:
                other.close()
        for other in sorted(self._known.values(), key=lambda f: f.used_at)[: max(0, len(self._known) + 1 - _MOST)]:
            other.close()
        family = self._known[kind] = Family(kind, self._root, plan, ceiling=_ceiling(plan, self._memory))
        self._tasks.start(self._live(family, plan), f"template {family.id}")
        return family

    async def _live(self, family: Family, plan: containers.ContainerPlan) -> None:
        assert self._launcher is not None
        try:
            async with self._launcher.template(template_plan(plan, family.id), family) as ended:
                family.listen()
                launcher = self._launcher
                cells = self._tasks.start(self._fill(family, plan, launcher), f"cells of {family.id}")
                await asyncio.shield(ended)
                family.close()
                await cells  # they lie in the template's folder, which goes now
        except (exception.Error, OSError) as exc:
            _log.warning("template %s: %s", family.id, exc)
            _reject(family.reached, Cold(f"making it failed: {exc}"))
        finally:
            family.close()
            if self._known.get(family.kind) is family:
                del self._known[family.kind]

    async def _fill(self, family: Family, plan: containers.ContainerPlan, launcher: Launcher) -> None:
        try:
            await asyncio.shield(family.reached)
        except Cold:
            return
        await family.fill(lambda: launcher.cell(plan, family), lambda: self._share(family), self._spare)

    def _share(self, family: Family) -> int:
        """How many forks of it may wait beside those of others."""
        living = {one.id: one.known() for one in self._known.values() if one.reached.done() and not one.over}
        return reserve.shares(living, self._memory, scarce=self._scarce).get(family.id, 0)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            now, self._scarce = time.monotonic(), _memory_is_scarce()
            for family in list(self._known.values()):
                if family.reached.done() and spent(now - family.used_at, now - family.made_at, scarce=self._scarce):
                    family.close()
                family.look()


def _ceiling(plan: containers.ContainerPlan, memory: int) -> int:
    bounds = plan["runner"]["spec"].get("autoscaler") or {}
    request = plan.get("memory_request") or _REQUEST
    return reserve.ceiling(bounds.get("max_containers", 0), request * _MIB, memory)


def spent(idle: float, age: float, *, scarce: bool) -> bool:
    """Whether a template is to go. ``idle``: seconds since its last fork. ``scarce``: the machine's memory is."""
    return idle > (_LOOK if scarce else _IDLE) or age > _OLD


def own_environment() -> dict[str, str]:
    """What programs of ours need to find themselves."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def kind_of(plan: containers.ContainerPlan) -> str:
    """Equal for containers that are alike in all but their identity."""
    alike: dict[str, Any] = {k: v for k, v in plan.items() if k not in ("container_id", "token", "runner")}
    alike["runner"] = {k: v for k, v in plan["runner"].items() if k not in ("container_id", "token")}
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()


def template_plan(plan: containers.ContainerPlan, name: str) -> containers.ContainerPlan:
    """The plan of a template for such containers: it has no token, so it cannot speak as one of them."""
    runner: containers.RunnerPlan = {
        **plan["runner"], "container_id": name, "token": "", "template": f"{DOOR}/sock",
    }  # fmt: skip
    return {**plan, "container_id": name, "token": "", "runner": runner}


def _memory_is_scarce() -> bool:
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        fields = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return fields.get("MemAvailable", 1) < _SCARCE * fields.get("MemTotal", 1)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[Any], why: Exception) -> None:
    if not future.done():
        future.set_exception(why)
        future.exception()  # waited for or not, it is not an error of the loop
