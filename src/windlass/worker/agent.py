"""The worker's mind: compare what the server wants with what is, move one towards the other, report.

Level, not edge: each ``worker.want`` names everything; what is not named is not wanted. Reports carry what changed,
and every ten seconds everything, so a lost message costs a tick.
"""
from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from windlass import exception, paths
from windlass.kit import clock, tasks
from windlass.wire import peer as peers
from windlass.wire import web
from windlass.wire.messages import containers, workers
from windlass.worker import builds, exec, inotify, life, link, upkeep
from windlass.worker.runtime import base
from windlass.worker.sandboxes import service as sandboxes
from windlass.worker.volumes import answers

_TICK = 10.0
_log = logging.getLogger(__name__)


class Agent:
    """Everything this worker does, for one server. Leaving the block leaves the containers running."""

    def __init__(self, root: Path, *, runtime: base.Runtime, facts: workers.WorkerHello, time: clock.Clock) -> None:
        self._runtime = runtime
        self._facts = facts
        self._time = time
        self._tasks = tasks.Tasks(self._failed)
        self._link = link.Link(paths.server_socket(root), greet=self._greet, serve=self._serve)
        self._builds = builds.Builds(runtime, call=self._link.call, owner=self._tasks)
        self._sessions = exec.Sessions(runtime, self._tasks)
        self._upkeep = upkeep.Upkeep(runtime.store, self._tasks)
        self._sandboxes = sandboxes.Service(
            runtime, self._tasks, self._note, run=paths.run(root),
            edge=paths.containers_socket(root).with_name(web.SOCKET), time=time,
        )  # fmt: skip
        if runtime.network is not None:
            runtime.network.say = self._say
        self._volumes = None
        if runtime.volumes is not None:
            runtime.volumes.connect(self._link.call, self._spoiled, self._say)
            self._tasks.start(runtime.volumes.steps.rescue(), "commits of ended steps")
            self._tasks.start(runtime.volumes.scrub.run(), "check of layers")
            self._volumes = answers.Answers(runtime.volumes, self._tasks)
        self._lives: dict[str, life.Life] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._watcher = inotify.Inotify()
        self._early: workers.WorkerWant | None = None
        self._left = runtime.known()  # by an earlier worker; adopted after the first hello, which tells log offsets
        self._around = life.Surroundings(
            runtime=runtime, gate=asyncio.Semaphore(2 * (os.cpu_count() or 1) + 1), watcher=self._watcher,
            plan=self._plan, send=self._send, changed=self._note,
        )  # fmt: skip

    async def __aenter__(self) -> Agent:
        self._watcher.__enter__()
        await self._sandboxes.take_over()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._tasks.close()
        self._watcher.__exit__(kind, exc, tb)

    async def run(self) -> None:
        """Obey until cancelled."""
        self._tasks.start(self._reports(), "reports")
        await self._link.run()

    # -- what is -------------------------------------------------------------------------------------

    async def _greet(self, peer: peers.Peer) -> None:
        hello: workers.WorkerHello = {
            **self._facts,
            "containers": self._reality() + [{"container_id": name, "state": "running"} for name in self._left],
            "builds": self._builds.names(),
            "images": self._runtime.images(),
            "levels": dict(self._runtime.levels),
        }
        offsets: dict[str, int] = (await peer.request("worker.hello", hello)).body["offsets"]
        left, self._left = self._left, []
        for container_id in left:
            self._begin(container_id, adopt=True, offset=offsets.get(container_id, 0))
        self._changed.update(self._lives)
        self._wake.set()
        if self._early is not None:
            early, self._early = self._early, None
            self._want(early)

    def _reality(self) -> list[workers.ContainerReality]:
        return [self._real(known) for known in self._lives.values()]

    def _real(self, known: life.Life) -> workers.ContainerReality:
        return self._sandboxes.add(known.container_id, known.reality())

    def _note(self, container_id: str) -> None:
        self._changed.add(container_id)
        self._wake.set()

    async def _reports(self) -> None:
        last = self._time.monotonic()
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.0, last + _TICK - self._time.monotonic()))
            except asyncio.TimeoutError:
                pass
            self._wake.clear()
            changed, self._changed = self._changed, set()
            whole = self._time.monotonic() >= last + _TICK
            if whole:
                last = self._time.monotonic()
                report = self._reality()
            else:
                report = [self._real(self._lives[name]) for name in sorted(changed) if name in self._lives]
            if report or whole:
                told: workers.WorkerReport = {
                    "containers": report, "whole": whole, "templates": self._runtime.templates(),
                    "levels": dict(self._runtime.levels),
                }  # fmt: skip
                await self._call("worker.report", told)

    # -- what is wanted ------------------------------------------------------------------------------

    def _serve(self, incoming: peers.Incoming) -> None:
        if incoming.method == "worker.want":
            self._want(incoming.body)
        elif incoming.method == "worker.templates":
            self._runtime.keep_templates(incoming.body["functions"])
        elif incoming.method == "exec.start":
            self._sessions.start(incoming)
        elif incoming.method == "exec.input":
            self._sessions.input(incoming)
        elif incoming.method == "image.contents":
            self._tasks.start(self._contents(incoming), "image.contents")
        elif incoming.method == "network.addresses" and self._runtime.network is not None:
            incoming.reply(self._runtime.network.addresses())
        elif self._sandboxes.serve(incoming):
            pass
        elif not (self._volumes is not None and self._volumes.serve(incoming)) and not self._upkeep.serve(incoming):
            incoming.fail(exception.UnimplementedError(f"a worker does not answer {incoming.method}"))

    def _want(self, want: workers.WorkerWant) -> None:
        if self._left:
            self._early = want  # it overtook our own look at the answer to hello; what was left is adopted first
            return
        self._builds.want(want["builds"])
        wanted = {one["container_id"]: one for one in want["containers"]}
        for container_id, one in wanted.items():
            self._move(container_id, one)
        for container_id in [known for known in self._lives if known not in wanted]:
            if self._lives[container_id].exit is not None:
                del self._lives[container_id]  # the server knows of its end
            else:
                self._lives[container_id].kill()

    def _move(self, container_id: str, one: workers.WantedContainer) -> None:
        known = self._lives.get(container_id)
        if known is None:
            known = self._begin(container_id) if one["state"] == "run" else self._never(container_id)
        if one["state"] == "stop":
            known.stop(one.get("grace", 0.0))
        elif one["state"] == "kill":
            known.kill()

    def _begin(self, container_id: str, *, adopt: bool = False, offset: int = 0) -> life.Life:
        known = self._lives[container_id] = life.Life(container_id, self._around, offset=offset)
        self._tasks.start(known.run(adopt=adopt), f"container {container_id}")
        return known

    def _spoiled(self, container_id: str, why: str) -> None:
        """It shows what is not what was committed."""
        if (known := self._lives.get(container_id)) is not None and known.exit is None:
            _log.error("container %s is ended: %s", container_id, why)
            self._say(container_id, f"This container is ended: {why}")
            known.lose(why)

    def _never(self, container_id: str) -> life.Life:
        """Wanted to end, and not here: as good as ended."""
        known = self._lives[container_id] = life.Life(container_id, self._around)
        known.state, known.exit = "exited", {"reason": "stopped"}
        self._note(container_id)
        return known

    async def _contents(self, incoming: peers.Incoming) -> None:
        try:
            wanted = incoming.body["image_ids"]
            found = {image_id: await asyncio.to_thread(self._runtime.contents, image_id) for image_id in wanted}
            incoming.reply({"images": found})
        except (exception.Error, OSError) as exc:
            incoming.fail(exc)

    # -- the server ----------------------------------------------------------------------------------

    async def _plan(self, container_id: str) -> containers.ContainerPlan:
        plan: containers.ContainerPlan = await self._link.call("container.plan", {"container_id": container_id})
        return plan

    async def _send(self, container_id: str, offset: int, entries: list[workers.LogPiece]) -> None:
        await self._call("worker.logs", {"container_id": container_id, "offset": offset, "entries": entries})

    def _say(self, container_id: str, text: str) -> None:
        """A line of the platform's in a container's log, about what only this machine sees."""
        self._tasks.start(self._call("worker.said", {"container_id": container_id, "text": text}), "worker.said")

    async def _call(self, method: str, body: Any) -> None:
        try:
            await self._link.call(method, body)
        except exception.Error as exc:
            _log.warning("the server refused %s: %s", method, exc)

    def _failed(self, name: str, exc: BaseException) -> None:
        _log.error("task %s failed", name, exc_info=exc)
