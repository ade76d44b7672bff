"""What lies in volumes and network file systems, and their files on the way out of them."""
from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, BinaryIO

from windlass import exception
from windlass.client import stepping, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import volumes as messages

Entry = tuple[str, str, int, int]


async def entries(volume_id: str, path: str, *, recursive: bool, at: int | None = None) -> AsyncGenerator[Entry, None]:
    """Path, kind, time and size of what lies at ``path``. Raises ``FileNotFoundError``."""
    if isinstance(path, str) and path.endswith("*"):
        raise exception.InvalidError(
            f"the path {path!r} ends in a wildcard, which is not supported", hint="Name the folder itself."
        )
    body: messages.VolumeRead = {"volume_id": volume_id, "recursive": recursive}
    if at is not None:
        body["at"] = at
    with volumes.translated(path):
        where = os.fsencode(volumes.inside(path))
        async for reply in stepping.current().stream(volumes.method(volume_id, "entries"), body, [where]):
            batch: messages.VolumeEntries = reply.body
            listed = zip(reply.attachments, batch["kinds"], batch["mtimes"], batch["sizes"], strict=True)
            for raw, kind, mtime, size in listed:
                yield os.fsdecode(raw), kind, mtime, size


async def matching(identity: str, path: str) -> AsyncGenerator[Entry, None]:
    """What lies in a folder, or is at a path, or is matched by a glob. Raises ``FileNotFoundError``."""
    from windlass.client import globs

    clean = volumes.inside(path)
    if not globs.is_glob(clean):
        async for entry in entries(identity, path, recursive=False):
            yield entry
        return
    wanted = globs.search(clean)
    async for entry in entries(identity, wanted.folder, recursive=wanted.recursive):
        if wanted.matches(entry[0]):
            yield entry


async def pieces(
    volume_id: str, path: str, *, at: int | None = None, offset: int = 0,
    told: Callable[[int, int | None], None] | None = None,
) -> AsyncGenerator[bytes, None]:  # fmt: skip
    """The bytes of a file; goes on where it was, in the same version, when the connection is lost. ``told``: is called
    with its size and that version, before the first of them."""
    patience = None
    while True:
        body: messages.VolumeRead = {"volume_id": volume_id, "offset": offset}
        if at is not None:
            body["at"] = at
        try:
            with volumes.translated(path):
                where = os.fsencode(volumes.inside(path))
                asked = stepping.current().stream(volumes.method(volume_id, "fetch"), body, [where])
                async for reply in asked:
                    data, at = reply.attachments[0], reply.body.get("at", at)
                    if told is not None:
                        told(reply.body["size"], at)
                        told = None
                    offset += len(data)
                    if data:
                        yield data
            return
        except exception.ServiceError as exc:
            from windlass.client import session

            patience = patience or session.Patience()
            await patience.wait(exc)


async def gathered(
    volume_id: str, paths: Sequence[str], *, most: int, at: int | None = None
) -> AsyncGenerator[list[tuple[int, bytes]], None]:
    """All bytes of those of some files that have at most ``most``, by their numbers. Which do not come (no plain file;
    larger; an older platform; the connection was lost) is fetched by itself, and the reason heard then."""
    body: messages.VolumeGather = {"volume_id": volume_id, "most": most}
    if at is not None:
        body["at"] = at
    names = [os.fsencode(volumes.inside(path)) for path in paths]
    try:
        async for reply in stepping.current().stream(volumes.method(volume_id, "gather"), body, names):
            yield list(zip(reply.body["files"], map(bytes, reply.attachments), strict=True))
    except (exception.ServiceError, exception.UnimplementedError):
        return


async def download(
    volume_id: str, path: str, file: BinaryIO, progress: Callable[..., Any] | None, *, at: int | None = None
) -> int:
    """Write a file's bytes to ``file``; how many there were."""
    told = None if progress is None else (lambda size, _: progress(reset=True, total=size))
    done = 0
    async for piece in pieces(volume_id, path, at=at, told=told):
        await stepping.aside(file.write, piece)
        done += len(piece)
        if progress is not None:
            progress(advance=len(piece))
    return done
