"""What the server asks of sandboxes here, by the name of the method."""
from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from windlass import exception
from windlass.kit import clock, descriptors, tasks
from windlass.wire import peer as peers
from windlass.wire.messages import sandboxes as messages
from windlass.wire.messages import workers
from windlass.worker.images import build, cache
from windlass.worker.runtime import base
from windlass.worker.sandboxes import (
    box,
    execs,
    files,
    overlaid,
    probing,
    progress,
    sentry,
    snapshots,
    starting,
    visiting,
)

_LONGEST_WAIT = 60.0
_WATCH_STEP = 1.0


class Service:
    """Answers ``sandbox.*``. ``changed`` is told which sandbox has something new to report."""

    def __init__(
        self, runtime: base.Runtime, owner: tasks.Tasks, changed: Callable[[str], None], *, run: Path,
        edge: Path, time: clock.Clock,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._owner = owner
        self._run = run
        self.execs = execs.Execs(owner, changed, time)
        self.probes = probing.Probes(owner, self._probed, self._listens, changed)
        self.visiting = visiting.Visiting(edge)
        self._inputs: dict[str, _Input] = {}
        self._others: set[str] = set()
        """Containers that are no sandboxes."""
        self._kept: set[str] = set()
        """Whose memory is being kept."""
        self._answers: dict[str, Callable[[peers.Incoming], Awaitable[None]]] = {
            "sandbox.exec": self._exec, "sandbox.exec_wait": self._exec_wait, "sandbox.exec_read": self._exec_read,
            "sandbox.exec_write": self._exec_write, "sandbox.exec_kill": self._exec_kill,
            "sandbox.stdin": self._stdin, "sandbox.file": self._file, "sandbox.watch": self._watch,
            "sandbox.snapshot": self._snapshot, "sandbox.mount": self._mount, "sandbox.unmount": self._unmount,
            "sandbox.connect": self._connect,
        }  # fmt: skip

    def add(self, container_id: str, real: workers.ContainerReality) -> workers.ContainerReality:
        """What the server is told of a container, with what only sandboxes have."""
        if real["state"] == "exited":
            self.probes.forget(container_id)
            self._others.discard(container_id)
            self.visiting.forget(container_id)
            if (kept := self._inputs.pop(container_id, None)) is not None:
                kept.close()
        elif real["state"] == "running" and self._is_sandbox(container_id):
            real["execs"] = self.execs.running(container_id)
            real["ready"] = self.probes.ready(container_id)
        return real

    async def take_over(self) -> None:
        """Go on with what an earlier worker had under way, before anybody asks for it."""
        with contextlib.suppress(exception.Error, OSError):  # without a starter there are no sandboxes here
            await self._runtime.starter.ready()
            self.execs.take_over(self._runtime.starter.earlier())

    def _is_sandbox(self, container_id: str) -> bool:
        if container_id in self._others:
            return False
        try:
            self.probes.begin(self._runtime.sandbox(container_id))
        except (exception.NotFoundError, exception.UnimplementedError):
            self._others.add(container_id)
            return False
        except exception.Error:
            return False
        return True

    def serve(self, incoming: peers.Incoming) -> bool:
        """Take on an exchange; False where it is not about sandboxes."""
        answer = self._answers.get(incoming.method)
        if answer is None:
            return False
        task = self._owner.start(self._answer(answer, incoming), incoming.method)
        incoming.on_cancel = task.cancel  # type: ignore[assignment]
        return True

    async def _answer(self, answer: Callable[[peers.Incoming], Awaitable[None]], incoming: peers.Incoming) -> None:
        try:
            await answer(incoming)
        except exception.Error as exc:
            incoming.fail(exc)
        except OSError as exc:
            incoming.fail(exception.ConflictError(f"the sandbox cannot be reached: {exc.strerror or exc}"))
        finally:  # nobody waits for ever for the answer of a defect; what was answered stays so
            incoming.fail(exception.InternalError(f"{incoming.method} ended without an answer"))

    # -- commands --------------------------------------------------------------------------------------------

    async def _exec(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxExec = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        await self.execs.begin(home, self._runtime.commands(home, self._owner), request)
        incoming.reply({})

    async def _exec_wait(self, incoming: peers.Incoming) -> None:
        request: messages.ExecRef = incoming.body
        one = self._own(request)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(one.ended.wait(), min(request.get("seconds", 0.0), _LONGEST_WAIT))
        incoming.reply({"code": one.code})

    async def _exec_read(self, incoming: peers.Incoming) -> None:
        request: messages.ExecRead = incoming.body
        one = self._own(request)
        spool = one.spools.get(request.get("source", "stdout"))
        if spool is None:
            incoming.reply({"eof": True}, [b""])  # a terminal has one stream
            return
        seconds = min(request.get("seconds", 0.0), _LONGEST_WAIT)
        data, eof = await spool.read(max(0, request.get("offset", 0)), request.get("most", 1 << 20), seconds)
        incoming.reply({"eof": eof}, [data])

    async def _exec_write(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxInput = incoming.body
        one = self._own(request)
        if request.get("rows") and request.get("cols"):
            one.resize(request["rows"], request["cols"])
        async with one.feeding:
            if incoming.attachments:
                await one.write(incoming.attachments[0], request.get("offset", 0))
            if request.get("eof"):
                await one.end_input(request.get("offset", one.fed.written))
        incoming.reply({})

    async def _exec_kill(self, incoming: peers.Incoming) -> None:
        request: messages.ExecRef = incoming.body
        self._own(request).stop()
        incoming.reply({})

    def _own(self, request: messages.ExecRef | messages.ExecRead | messages.SandboxInput) -> execs.Exec:
        one = self.execs.find(request.get("exec_id", ""))
        if one.container_id != request.get("sandbox_id"):
            raise exception.NotFoundError("no such command in this sandbox")
        return one

    # -- ports -----------------------------------------------------------------------------------------------

    async def _connect(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxConnect = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        inside = await self._runtime.port(home, request["port"])
        await self.visiting.connect(request["sandbox_id"], inside, request["ticket"])
        incoming.reply({})

    # -- input of the entrypoint -----------------------------------------------------------------------------

    async def _stdin(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxInput = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        path = starting.starter_of(self._run, home.record)
        if request.get("rows") and request.get("cols"):
            await self._runtime.starter.resize_own(path, request["sandbox_id"], request["rows"], request["cols"])
            self._runtime.commands(home, self._owner).resize(execs.OWN, request["rows"], request["cols"])
            incoming.reply({})
            return
        kept = self._inputs.get(request["sandbox_id"])
        if kept is None:
            kept = self._inputs[request["sandbox_id"]] = _Input(home)
        async with kept.lock:
            if incoming.attachments:
                await kept.write(incoming.attachments[0], request.get("offset", 0))
            if request.get("eof") and not kept.over:
                kept.close()
                await self._runtime.starter.end_input(path, request["sandbox_id"])
        incoming.reply({})

    # -- files -----------------------------------------------------------------------------------------------

    async def _file(self, incoming: peers.Incoming) -> None:
        request: messages.FileRequest = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        data = incoming.attachments[0] if incoming.attachments else b""
        answer, piece = await asyncio.to_thread(files.answer, home.root, request, data)
        incoming.reply(answer, [piece] if request["op"] == "read" else [])

    async def _watch(self, incoming: peers.Incoming) -> None:
        request: messages.WatchRequest = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        loop, seconds = asyncio.get_running_loop(), request.get("seconds", 0.0)
        end = loop.time() + seconds if seconds else float("inf")
        watch = await asyncio.to_thread(
            files.Watch, home.root, request.get("path", "/"), recursive=request.get("recursive", False)
        )
        incoming.item({"kind": "", "paths": []})  # from now on nothing is missed
        try:
            while (left := end - loop.time()) > 0 and incoming.open:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(descriptors.ready(watch.descriptor), min(left, _WATCH_STEP))
                    await asyncio.sleep(files.SETTLE)
                for event in watch.events():
                    incoming.item(event)
                await incoming.peer.drain()
                self._runtime.sandbox(request["sandbox_id"])
        finally:
            watch.close()
        incoming.end()

    async def _snapshot(self, incoming: peers.Incoming) -> None:
        request: messages.SnapshotPlan = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        store, parent = self._runtime.store, request["parent"]
        await self._runtime.settle(home)
        async with contextlib.AsyncExitStack() as held:
            mounts = request.get("mounts", [])
            below = await held.enter_async_context(snapshots.ground(store.home, store.held, parent, mounts))
            memory = await held.enter_async_context(self._memory(home)) if request.get("memory") else None
            record = await snapshots.publish(
                home, cache.Layers(store.home), request["image_id"], parent=parent, below=below,
                path=request["path"], memory=memory,
            )  # fmt: skip
        incoming.reply({"meta": build._meta(record)})

    @contextlib.asynccontextmanager
    async def _memory(self, home: box.Home) -> AsyncIterator[Path]:
        """Its memory, once."""
        name = home.folder.container_id
        if self.execs.running(name):
            raise exception.ConflictError("commands run in this sandbox, so its memory cannot be kept")
        if name in self._kept:
            raise exception.ConflictError("the memory of this sandbox is being kept already")
        self._kept.add(name)
        try:
            async with self._runtime.memory(home) as memory:
                yield memory
        finally:
            self._kept.discard(name)

    async def _mount(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxMount = incoming.body
        home, image_id = self._runtime.sandbox(request["sandbox_id"]), request["image_id"]
        if home.level == sentry.LEVEL:  # its gofer has copies of the mounts
            raise exception.UnimplementedError(f"no image can be mounted in a sandbox with runtime={home.level!r}")
        with self._runtime.store.held.of(image_id):  # from then on the sandbox's record says so
            root = self._runtime.store.home
            await asyncio.to_thread(overlaid.mount, home, root, image_id, request["path"])
        incoming.reply({})

    async def _unmount(self, incoming: peers.Incoming) -> None:
        request: messages.SandboxMount = incoming.body
        home = self._runtime.sandbox(request["sandbox_id"])
        await asyncio.to_thread(overlaid.unmount, home, request.get("path", ""))
        incoming.reply({})

    # -- probes ----------------------------------------------------------------------------------------------

    async def _listens(self, home: box.Home, port: int) -> bool:
        try:
            (await self._runtime.port(home, port)).close()
        except (exception.Error, OSError):
            return False
        return True

    async def _probed(self, container_id: str, argv: list[str], name: str) -> int:
        """Run a probe's command; its exit code."""
        home = self._runtime.sandbox(container_id)
        request: messages.SandboxExec = {
            "sandbox_id": container_id, "exec_id": name, "command": argv, "discard": ["stdout", "stderr"],
            "timeout": _LONGEST_WAIT,
        }  # fmt: skip
        await self.execs.begin(home, self._runtime.commands(home, self._owner), request)
        one = self.execs.find(name)
        await one.ended.wait()
        self.execs.forget(name)
        return one.code or 0


class _Input:
    """The named pipe that is the input of a sandbox's own command; the starter holds it open, too."""

    def __init__(self, home: box.Home) -> None:
        self._path = home.folder.path / box.STDIN
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._note = os.open(f"{self._path}.fed", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.lock = asyncio.Lock()
        self.over = False
        self._fed = progress.Progress()
        self._fed.take_over(self._note)

    async def write(self, data: bytes, offset: int) -> None:
        if self.over:
            raise exception.ConflictError("the input of this sandbox has been closed")
        left = self._fed.missing(data, offset)
        if left is None:
            raise exception.InvalidError(f"input continues at {self._fed.written}, not at {offset}")
        while left:
            try:
                count = os.write(self._descriptor, left)
            except BlockingIOError:
                await descriptors.ready(self._descriptor, writing=True)
                continue
            except BrokenPipeError:
                raise exception.ConflictError("nobody reads the input of this sandbox any more") from None
            self._fed.wrote(count, self._note)
            left = left[count:]

    def close(self) -> None:
        if not self.over:
            self.over = True
            os.close(self._descriptor)
            os.close(self._note)
