"""What the server asks about the store of images: its inventory, a removal, a check, an image as an archive.

Long work is done by programs of their own, which end with the exchange that wants them. An archive is pulled, piece by
piece: the connection carries much else, and whoever reads slowly must make the writer wait, not fill the server.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import windlass
from windlass import exception
from windlass.kit import tasks
from windlass.wire import payload
from windlass.wire import peer as peers
from windlass.wire.messages import upkeep
from windlass.worker import answering, spec
from windlass.worker.images import archive, cache, store

_UNREAD = 60.0  # seconds after which an archive that nobody reads on is given up
_FIRST = 1.0  # seconds to wait for bytes before saying only how far it is


class Upkeep(answering.Answering):
    """Answers ``store.*``."""

    def __init__(self, images: store.Store, owner: tasks.Tasks) -> None:
        self._store = images
        self._exports: dict[str, _Export] = {}
        super().__init__(owner, "the store of images", {
            "store.inventory": self._inventory, "store.remove": self._remove, "store.check": self._check,
            "store.export": self._export, "store.export_stop": self._export_stop,
        }, finished=["store.remove"])  # fmt: skip

    async def _inventory(self, incoming: peers.Incoming) -> None:
        incoming.reply(await self._store.inventory())

    async def _remove(self, incoming: peers.Incoming) -> None:
        request: upkeep.StoreRemove = incoming.body
        taken = self._store.take(request["names"], request["mounts"])
        removed: upkeep.StoreRemoved = {"names": taken.names, "freed": taken.freed}
        incoming.item(removed)
        await self._store.delete(taken)
        incoming.end()

    async def _check(self, incoming: peers.Incoming) -> None:
        async with _program("windlass.worker.images.fsck", str(self._store.layers)) as process:
            while line := await process.stdout.readline():
                event: upkeep.FsckEvent = json.loads(line)
                if not self._is_at_work(event.get("finding")):
                    incoming.item(event)
                    await incoming.peer.drain()
            if await process.wait():
                said = (await process.stderr.read()).decode(errors="replace").strip().rpartition("\n")[2]
                raise exception.ExecutionError(f"the check of the store did not finish: {said}")
        incoming.end()

    def _is_at_work(self, finding: upkeep.Finding | None) -> bool:
        return finding is not None and self._store.layers / finding["name"] in cache.Layers.at_work

    async def _export(self, incoming: peers.Incoming) -> None:
        request: upkeep.ExportRead = incoming.body
        export = self._exports.get(request["export_id"])
        if export is None:
            if "image_id" not in request:
                raise exception.NotFoundError("this export has ended")
            export = self._exports[request["export_id"]] = _Export()
            self._owner.start(self._run(request, export), f"export of {request['image_id']}")
        piece, data = await export.read()
        incoming.reply(piece, [data] if data else [])

    async def _run(self, request: upkeep.ExportRead, export: _Export) -> None:
        """The life of one export."""
        try:
            with self._store.held.of(request["image_id"]):
                plan = self._plan(request)
                async with _program("windlass.worker.images.archive") as process:
                    await export.follow(process, json.dumps(plan).encode())
        except exception.Error as exc:
            export.fail(exc)
        except OSError as exc:
            export.fail(exception.ExecutionError(f"the export could not run: {exc}"))
        finally:
            export.fail(exception.ExecutionError("the export has ended"))
            self._exports.pop(request["export_id"], None)

    def _plan(self, request: upkeep.ExportRead) -> archive.Plan:
        layers = cache.Layers(self._store.home)
        record = layers.read(request["image_id"])
        return {
            "layers": [str(layers.files(layer)) for layer in record["layers"]],
            "config": archive.config(record, request["steps"]),
            "reference": request["reference"],
            "size": sum(int((store.read(layers.root / layer) or {}).get("size", 0)) for layer in record["layers"]),
        }

    async def _export_stop(self, incoming: peers.Incoming) -> None:
        export = self._exports.get(incoming.body["export_id"])
        if export is not None:
            export.over.set()
        incoming.reply({})


class _Export:
    """An archive on its way: the program that writes it, read as fast as somebody pulls."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._reading = asyncio.Lock()
        self._started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
        self._listening: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._progress: upkeep.ExportPiece = {"done": 0, "of": 0}
        self._error: exception.Error | None = None

    async def follow(self, process: asyncio.subprocess.Process, plan: bytes) -> None:
        """Feed the program and stay with it until its last byte is read, nobody reads any more, or it was stopped."""
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(plan)
        process.stdin.close()
        async with tasks.Tasks(lambda name, exc: None) as background:
            self._listening = background.start(self._listen(process.stderr), "progress of an export")
            self._started.set_result(process)
            self._go_on_waiting()
            await self.over.wait()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            async with self._reading:  # whoever still reads comes to the end first
                pass

    def fail(self, exc: exception.Error) -> None:
        """It ends here; the first reason counts."""
        self._error = self._error or exc
        self.over.set()
        if self._patience is not None:
            self._patience.cancel()
        if not self._started.done():
            self._started.set_exception(exc)

    async def read(self) -> tuple[upkeep.ExportPiece, bytes]:
        """The next piece, or none while there is nothing yet."""
        process = await asyncio.shield(self._started)
        self._go_on_waiting()
        async with self._reading:
            data = await _chunk(process)
        if data is None:
            return self._progress, b""
        if data:
            return self._progress, data
        code = await process.wait()
        if self._listening is not None:
            await asyncio.wait({self._listening}, timeout=_FIRST)
        self.over.set()
        if code:
            raise self._error or exception.ExecutionError("the export did not finish")
        return {**self._progress, "over": True}, b""

    def _go_on_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        late = exception.TimeoutError(f"nobody read the archive for {_UNREAD:g} s")
        self._patience = asyncio.get_running_loop().call_later(_UNREAD, self.fail, late)

    async def _listen(self, said: asyncio.StreamReader) -> None:
        while line := await said.readline():
            try:
                word = json.loads(line)
            except ValueError:  # the words of an interpreter that failed
                continue
            if "error" in word:
                self._error = exception.ExecutionError(word["error"], hint=word["hint"])
            else:
                self._progress = {"done": word["done"], "of": word["of"]}


async def _chunk(process: asyncio.subprocess.Process) -> bytes | None:
    """A large piece of what the program writes, empty at its end; None while there is nothing yet."""
    assert process.stdout is not None
    try:
        data = await asyncio.wait_for(process.stdout.read(payload.CHUNK), _FIRST)
    except asyncio.TimeoutError:
        return None
    while data and len(data) < payload.CHUNK and (more := await process.stdout.read(payload.CHUNK - len(data))):
        data += more
    return data


@contextlib.asynccontextmanager
async def _program(module: str, *arguments: str) -> AsyncIterator[Any]:
    """One of our programs, killed when the block is left."""
    here = str(Path(windlass.__file__).parent.parent)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env={"PATH": spec.PATH, "PYTHONPATH": here}, limit=payload.CHUNK,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        for pipe in (process.stdout, process.stderr):  # unread bytes would keep its end from being noticed
            while pipe is not None and await pipe.read(payload.CHUNK):
                pass
        await process.wait()
