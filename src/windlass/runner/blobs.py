"""Large values over the runner's connection. For whoever may wait: alone, that is the main thread."""
from __future__ import annotations

from windlass import exception
from windlass.kit import ids
from windlass.wire import codec, payload, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from windlass.runner import link as link_module

_AHEAD = 8  # chunks under way


class _Lost(Exception):
    """The connection was lost on the way."""


def fetch(link: link_module.Waits, digest: str, size: int) -> bytearray:
    """The bytes of a blob. Raises ``DataLossError`` where they are no longer what was stored."""
    for verify in (False, True):  # where it is the server's disk that is wrong, the server says so the second time
        data = _fetched(link, digest, size, verify=verify)
        if payload.digest(data) == digest:
            return data
    raise payload.damaged(digest)


def _fetched(link: link_module.Waits, digest: str, size: int, *, verify: bool) -> bytearray:
    data = bytearray()
    while len(data) < size:
        try:
            _fetch(link, digest, data, verify=verify and not data)
        except _Lost:
            continue  # goes on where it was
        if len(data) < size:
            raise exception.DataLossError(f"a value of {size:,} bytes arrived with {len(data):,}")
    return data


def _fetch(link: link_module.Waits, digest: str, data: bytearray, *, verify: bool) -> None:
    over: list[dict[str, Any]] = []

    def arrived(header: dict[str, Any], attachments: list[bytes]) -> None:
        if header["k"] == codec.ITEM:
            data.extend(attachments[0])
        else:
            over.append(header)

    connection = _up(link)
    body = {"digest": digest, "offset": len(data), **({"verify": True} if verify else {})}
    link.request("blob.get", body, kind=codec.STREAM, answer=arrived)
    _until(link, connection, lambda: bool(over))
    _check(over[0])


def upload(link: link_module.Waits, data: bytes) -> str:
    """Bring ``data`` to the server; returns its digest."""
    digest = payload.digest(data)
    while True:
        try:
            _upload(link, digest, memoryview(data))
            return digest
        except _Lost:
            continue  # a half upload is forgotten with its connection


def _upload(link: link_module.Waits, digest: str, view: memoryview) -> None:
    upload_id = ids.new("up")
    answers: list[dict[str, Any]] = []
    sent = 0
    connection = _up(link)
    for offset in range(0, len(view), payload.CHUNK):
        chunk = view[offset : offset + payload.CHUNK]
        body = {"upload_id": upload_id, "digest": digest, "offset": offset, "last": offset + len(chunk) == len(view)}
        link.request("blob.put", body, (chunk,), answer=lambda header, _: answers.append(header))
        sent += 1
        _until(link, connection, lambda: sent - len(answers) < _AHEAD)  # noqa: B023 - waited for before the loop goes on
        for header in answers:
            _check(header)
    _until(link, connection, lambda: len(answers) == sent)
    _check(answers[-1])


def _up(link: link_module.Waits) -> int:
    """Which connection is used."""
    link.wait(lambda: link.up)
    return link.generation


def _until(link: link_module.Waits, connection: int, done: Callable[[], bool]) -> None:
    """Wait for answers; those of a lost connection never come."""
    link.wait(lambda: done() or link.generation != connection)
    if link.generation != connection:
        raise _Lost


def _check(header: dict[str, Any]) -> None:
    if header["k"] == codec.ERROR:
        raise status.from_wire(header.get("e", {}))
