"""Volumes and network file systems as a client names, mounts and changes them.

Their files travel by ``downloads`` and ``uploads``.
"""
from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from windlass import exception
from windlass.client import stepping
from windlass.kit import ids, slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client import object as handles
    from windlass.client import session
    from windlass.wire.messages import nfs
    from windlass.wire.messages import volumes as messages

_BEAT = 60.0


def method(identity: str, verb: str) -> str:
    """The server's method for what the id is of: both kinds answer alike."""
    return f"{'nfs' if identity.startswith('sv-') else 'volume'}.{verb}"


def inside(path: str | os.PathLike[str]) -> str:
    """A path in a volume, without what it may begin and end with. Raises ``InvalidError`` for one that leads out."""
    text = slashes.forward(path)
    if isinstance(text, os.PathLike):
        text = os.fspath(text)
    if not isinstance(text, str) or "\0" in text:
        raise exception.InvalidError(f"{path!r} is no path")
    parts = PurePosixPath(text).parts
    if ".." in parts:
        raise exception.InvalidError(f"the path {text!r} leads out", hint="Leave out '..'.")
    return "/".join(part for part in parts if part != "/")


def check_once(mounted: Mapping[str, Any]) -> None:
    """Raise ``InvalidError`` where one object shall be mounted at two paths."""
    places: dict[object, str] = {}
    for path, one in mounted.items():
        base = getattr(one, "_base", None) or one
        for identity in {id(base), base._object_id or id(base)}:
            if identity in places:
                raise exception.InvalidError(
                    f"{one._describe()} cannot be mounted twice in one container, at {places[identity]!r} and {path!r}"
                )
            places[identity] = path


def mounts(mounted: Mapping[str, Any]) -> list[messages.VolumeMount]:
    """What the server is told of volumes that have their ids, by the paths that they are mounted at."""
    check_once(mounted)
    return [
        {"path": path, "volume_id": one.object_id, "read_only": bool(one._read_only), "sub_path": one._sub_path or ""}
        for path, one in mounted.items()
    ]


def check_apart(shared: Mapping[str, Any], mounted: Mapping[str, Any]) -> None:
    """Raise ``InvalidError`` where a network file system shall be mounted where a volume is. Places inside each other
    the server refuses, which knows all of a function."""
    for path in shared:
        if path in mounted:
            raise exception.InvalidError(
                f"a volume and a network file system cannot both be mounted at {path!r}",
                hint="Give each a folder of its own.",
            )


def shares(shared: Mapping[str, Any]) -> list[nfs.NfsMount]:
    """What the server is told of network file systems, like ``mounts``."""
    check_once(shared)
    return [{"path": path, "nfs_id": one.object_id} for path, one in shared.items()]


@contextlib.contextmanager
def translated(path: str) -> Any:
    """The errors of the standard library for what is missing, or in the way."""
    try:
        yield
    except exception.NotFoundError as exc:
        if str(exc).startswith(("volume ", "network file system ")):
            raise
        raise FileNotFoundError(str(exc)) from None
    except exception.AlreadyExistsError as exc:
        raise FileExistsError(str(exc)) from None


async def edit(volume_id: str, steps: list[messages.EditStep], edit_id: str = "") -> None:
    """All of the steps, or none. Raises ``FileNotFoundError`` and ``FileExistsError``."""
    body: messages.VolumeEdit = {"volume_id": volume_id, "edit_id": edit_id or ids.new("ed")}
    text = json.dumps(steps, separators=(",", ":")).encode()
    with translated(""):
        await stepping.current().request(method(volume_id, "edit"), body, [text])


@contextlib.asynccontextmanager
async def ephemeral(cls: type[handles.Object], query: Any) -> AsyncIterator[Any]:
    """A volume, or a network file system, that lives as long as the block."""
    from windlass.client import session
    from windlass.kit import tasks

    home = session.current()
    found: Any = (await home.request(method(f"{cls._prefix}-", "get"), query)).body
    volume: Any = cls._new()
    volume._object_id, volume._lazy = found["volume_id"], True
    volume._query = {"volume_id": found["volume_id"]}
    reference: messages.VolumeRef = {"volume_id": found["volume_id"]}
    try:
        async with tasks.Tasks(lambda name, exc: None) as owner:
            owner.start(_beats(home, reference), "beats of an ephemeral object")
            yield volume
    finally:
        with contextlib.suppress(exception.NotFoundError):
            await home.request(method(found["volume_id"], "delete"), reference)


async def _beats(home: session.Session, reference: messages.VolumeRef) -> None:
    import asyncio

    while True:
        await asyncio.sleep(_BEAT)
        await home.request(method(reference["volume_id"], "beat"), reference)
