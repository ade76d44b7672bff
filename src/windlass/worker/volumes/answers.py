"""What the server asks of volumes, by the name of the method. Work on files is done in threads."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from pathlib import Path

from windlass.kit import tasks
from windlass.wire import peer as peers
from windlass.wire.messages import storage
from windlass.wire.messages import volumes as messages
from windlass.worker import answering
from windlass.worker.volumes import (
    checking,
    editing,
    measuring,
    merging,
    nfs_answers,
    packing,
    reading,
    sending,
    service,
)
from windlass.worker.volumes import layers as layer_store

_TELL = 1.0  # seconds between words of how far a check is


class Answers(answering.Answering):
    """Answers ``volume.*``, ``layers.*`` and ``folders.*``."""

    def __init__(self, volumes: service.Volumes, owner: tasks.Tasks) -> None:
        self._volumes = volumes
        self._layers = volumes.layers
        self._checked = reading.Checked(volumes.layers)
        super().__init__(owner, "the files", {
            "volume.take": self._take, "layers.list": self._list, "layers.read": self._read,
            "layers.gather": self._gather, "layers.edit": self._edit, "layers.merge": self._merge,
            "layers.keep": self._keep, "layers.check": self._check,
            "layers.lacking": self._lacking, "layers.pack": self._pack, "layers.unpack": self._unpack,
            "layers.count": self._count, "storage.measure": self._measure,
            **nfs_answers.Answers(volumes.nfs, uploads=volumes.layers.home / "uploads").methods,
        })  # fmt: skip

    async def _take(self, incoming: peers.Incoming) -> None:
        incoming.reply(await self._volumes.take(incoming.body))

    async def _list(self, incoming: peers.Incoming) -> None:
        request: messages.LayersRead = incoming.body
        path = os.fsdecode(incoming.attachments[0])
        with await asyncio.to_thread(self._viewed, request["layers"]) as view:
            await sending.listing(incoming, reading.entries(view, path, recursive=request.get("recursive", False)))

    def _viewed(self, layer_ids: list[str]) -> _Stack:
        with contextlib.ExitStack() as held:
            view = held.enter_context(self._layers.view(layer_ids))
            return _Stack(held.pop_all(), view)

    async def _read(self, incoming: peers.Incoming) -> None:
        request: messages.LayersRead = incoming.body
        path = os.fsdecode(incoming.attachments[0])
        with await asyncio.to_thread(self._viewed, request["layers"]) as view:
            descriptor, real = await asyncio.to_thread(reading.opened, view, path)
            try:
                checking.refuse(await asyncio.to_thread(self._damaged, request["layers"]), real)
                check = await asyncio.to_thread(self._checked.check, request["layers"], real, path)
                await sending.file(incoming, descriptor, request.get("offset", 0), request.get("size", -1), check)
            except OSError as exc:
                if exc.errno != errno.EIO:
                    raise
                await asyncio.to_thread(checking.unreadable, self._layers, request["layers"], real)
                await self._volumes.spoiled()
                checking.refuse(await asyncio.to_thread(self._damaged, request["layers"]), real)
                raise
            finally:
                os.close(descriptor)

    def _damaged(self, layer_ids: list[str]) -> list[checking.Damage]:
        return list(checking.visible(self._layers, layer_ids))

    async def _gather(self, incoming: peers.Incoming) -> None:
        request: messages.LayersGather = incoming.body
        layer_ids = request["layers"]
        with await asyncio.to_thread(self._viewed, layer_ids) as view:
            damaged = await asyncio.to_thread(self._damaged, layer_ids)

            def check(real: str, path: str, data: bytes) -> None:
                checking.refuse(damaged, real)
                self._checked.check_bytes(layer_ids, real, path, data)

            await sending.gathered(incoming, reading.gathered(view, incoming.attachments, request["most"], check))

    async def _edit(self, incoming: peers.Incoming) -> None:
        request: messages.LayersEdit = incoming.body
        uploads = self._layers.home / "uploads"
        made = await asyncio.to_thread(
            editing.edit, self._layers, request["layers"], incoming.attachments[0], uploads
        )
        incoming.reply(_told(made), [_joined(made.puts), _joined(made.clears)])

    async def _merge(self, incoming: peers.Incoming) -> None:
        request: messages.LayersMerge = incoming.body
        made = await asyncio.to_thread(merging.merge, self._layers, request["layers"], bottom=request["bottom"])
        incoming.reply(_told(made))

    async def _check(self, incoming: peers.Incoming) -> None:
        """Look at layers now, as fast as the disk gives them."""
        layer_ids: list[str] = incoming.body["layers"]
        with self._layers.hold(layer_ids):
            pace = checking.Pace(float("inf"))
            whole = sum(size for layer in layer_ids for _, size in self._layers.index(layer).values())
            try:
                async with tasks.Tasks() as owner:
                    for layer_id in layer_ids:
                        work = asyncio.to_thread(checking.look, self._layers, layer_id, pace, afresh=True)
                        looking = owner.start(work, f"check of {layer_id}")
                        while not looking.done():
                            await asyncio.wait({looking}, timeout=_TELL)
                            incoming.item({"done": pace.done, "of": whole})
                            await incoming.peer.drain()
                        looking.result()
                await self._volumes.spoiled()
                for damage in checking.visible(self._layers, layer_ids):
                    incoming.item({"path": damage.path, "layer_id": damage.layer_id})
                    await incoming.peer.drain()
            finally:
                pace.over.set()
        incoming.end()

    async def _lacking(self, incoming: peers.Incoming) -> None:
        known = set(self._layers.known())
        incoming.reply({"layers": [one for one in incoming.body["layers"] if one not in known]})

    async def _pack(self, incoming: peers.Incoming) -> None:
        incoming.reply(await asyncio.to_thread(packing.pack, self._layers, incoming.body["layer_id"]))

    async def _unpack(self, incoming: peers.Incoming) -> None:
        await asyncio.to_thread(packing.unpack, self._layers, incoming.body["layer_id"])
        incoming.reply({})

    async def _count(self, incoming: peers.Incoming) -> None:
        request: messages.LayersCount = incoming.body
        with await asyncio.to_thread(self._viewed, request["layers"]) as view:
            files, size = await asyncio.to_thread(measuring.shown, view)
        incoming.reply({"files": files, "size": size})

    async def _measure(self, incoming: peers.Incoming) -> None:
        request: storage.StorageMeasure = incoming.body
        measured, layers = await asyncio.to_thread(measuring.volumes, self._layers.root, request["volumes"])
        folders = await asyncio.to_thread(self._volumes.nfs.known)
        nfs = {one: await asyncio.to_thread(measuring.whole, self._volumes.nfs.files(one)) for one in folders}
        answer: storage.StorageMeasured = {"volumes": measured, "layers": layers, "nfs": nfs}
        incoming.reply(answer)

    async def _keep(self, incoming: peers.Incoming) -> None:
        request: messages.LayersKeep = incoming.body
        kept = {*request["layers"], *self._volumes.used()}
        dry_run = request.get("dry_run", False)
        incoming.reply(await asyncio.to_thread(self._sweep, kept, request["young"], dry_run=dry_run))

    def _sweep(self, kept: set[str], young: float, *, dry_run: bool) -> messages.LayersRemoved:
        going = [name for name in self._layers.known() if name not in kept and self._age(name) > young]
        held = self._layers.held()
        going = [name for name in going if name not in held]
        size = sum(measuring.layer(self._layers.root / name) for name in going)
        for name in going:
            if not dry_run and name not in self._layers.held():
                self._layers.remove(name)
        return {"removed": len(going), "size": size}

    def _age(self, layer_id: str) -> float:
        try:
            return time.time() - (self._layers.root / layer_id / "index.json").stat().st_mtime
        except FileNotFoundError:
            return float("inf")


class _Stack(contextlib.AbstractContextManager[Path]):
    """A view that was opened in a thread."""

    def __init__(self, held: contextlib.ExitStack, view: Path) -> None:
        self._held = held
        self._view = view

    def __enter__(self) -> Path:
        return self._view

    def __exit__(self, *exc: object) -> None:
        self._held.close()


def _told(made: layer_store.Made) -> messages.LayerMade:
    return {"layer_id": made.layer_id, "digest": made.digest, "files": made.files, "size": made.size}


def _joined(paths: list[str]) -> bytes:
    return b"\0".join(os.fsencode(path) for path in paths)
