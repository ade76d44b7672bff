"""What the server asks of network file systems, by the name of the method."""
from __future__ import annotations

import asyncio
import os
from pathlib import Path

from windlass import exception
from windlass.wire import peer as peers
from windlass.wire.messages import nfs as messages
from windlass.worker import answering
from windlass.worker.volumes import editing, nfs, reading, sending


class Answers:
    """Answers ``folders.*``. ``uploads``: where files lie that came from outside."""

    def __init__(self, folders: nfs.Folders, *, uploads: Path) -> None:
        self._folders = folders
        self._uploads = uploads
        self._burying = asyncio.Lock()
        self.methods: dict[str, answering.Answer] = {
            "folders.list": self._list, "folders.read": self._read, "folders.gather": self._gather,
            "folders.edit": self._edit, "folders.known": self._known, "folders.remove": self._remove,
        }  # fmt: skip

    async def _list(self, incoming: peers.Incoming) -> None:
        request: messages.FoldersRead = incoming.body
        path, files = os.fsdecode(incoming.attachments[0]), self._folders.files(request["nfs_id"])
        await sending.listing(incoming, reading.entries(files, path, recursive=request.get("recursive", False)))

    async def _read(self, incoming: peers.Incoming) -> None:
        request: messages.FoldersRead = incoming.body
        path, files = os.fsdecode(incoming.attachments[0]), self._folders.files(request["nfs_id"])
        descriptor, _ = await asyncio.to_thread(reading.opened, files, path)
        try:
            await sending.file(incoming, descriptor, request.get("offset", 0), request.get("size", -1))
        finally:
            os.close(descriptor)

    async def _gather(self, incoming: peers.Incoming) -> None:
        request: messages.FoldersGather = incoming.body
        found = reading.gathered(
            self._folders.files(request["nfs_id"]), incoming.attachments, request["most"], lambda *_: None
        )
        await sending.gathered(incoming, found)

    async def _edit(self, incoming: peers.Incoming) -> None:
        request: messages.FoldersEdit = incoming.body
        steps = editing.parsed(incoming.attachments[0])
        if {step["op"] for step in steps} - {"put", "folder", "remove"}:
            raise exception.UnimplementedError(
                "in network file systems files are put, folders made, both removed, and nothing else"
            )
        try:
            puts = [step for step in steps if step["op"] == "put"]
            await asyncio.to_thread(nfs.put, self._folders, request["nfs_id"], puts, self._uploads)
            for step in steps:
                if step["op"] == "folder":
                    await asyncio.to_thread(nfs.make, self._folders, request["nfs_id"], step)
                elif step["op"] == "remove":
                    await nfs.remove(self._folders, request["nfs_id"], step)
        except KeyError as exc:
            raise exception.InvalidError(f"malformed edit: {exc}") from None
        incoming.reply({})

    async def _known(self, incoming: peers.Incoming) -> None:
        incoming.reply({"nfs_ids": await asyncio.to_thread(self._folders.known)})
        await self._bury()

    async def _remove(self, incoming: peers.Incoming) -> None:
        request: messages.FoldersKnown = incoming.body
        await asyncio.to_thread(self._folders.retire, request["nfs_ids"])
        incoming.reply({})
        await self._bury()

    async def _bury(self) -> None:
        async with self._burying:
            await self._folders.bury()
