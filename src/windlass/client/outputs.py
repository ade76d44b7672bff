"""Following the outputs of a call across lost connections, each output once."""
from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from windlass import exception
from windlass.client import asking, blobs, failure, session, unpickle
from windlass.wire import codec
from windlass.wire.messages import calls, common


class Arrived(NamedTuple):
    """An output with its bytes at hand: ``data`` is the pickled value, or the pickled exception."""

    output: calls.Output
    data: bytes | bytearray | None

    def open(self) -> Any:
        """The value, or the remote failure raised. Runs the user's unpickling code: call in the user's thread."""
        if self.output["status"] in _GOOD:
            return None if self.data is None else unpickle.loads(self.data, "result")
        raise failure.rebuild(self.output, self.data)

    def open_or_error(self) -> Any:
        """The value, or the remote failure as a value."""
        if self.output["status"] in _GOOD:
            return self.open()
        return failure.rebuild(self.output, self.data)


_GOOD = frozenset({"success", "item"})


async def follow(
    home: session.Session,
    query: calls.OutputQuery,
    create: calls.CallCreate | None = None,
    attachments: list[codec.Bytes] | None = None,
) -> AsyncGenerator[tuple[calls.OutputBatch, list[bytes]], None]:
    """Batches of outputs until the call is done.

    With ``create`` the call is created by the same round trip. After a lost connection it is created again (which
    changes nothing where it exists) and the stream goes on behind the last output seen.
    """
    patience = session.Patience()
    first = create is not None
    while True:
        try:
            method, body = ("call.run", create) if first else ("call.outputs", query)
            stream = home.stream(method, body, (attachments or ()) if first else ())
            async with contextlib.aclosing(stream) as replies:
                async for reply in replies:
                    batch: calls.OutputBatch = reply.body
                    _advance(query, batch)
                    yield batch, reply.attachments
                    if batch["done"]:
                        return
            if not query.get("wait", True):
                return
            raise exception.ServiceError("the stream of outputs ended early")
        except exception.ServiceError as exc:
            await patience.wait(exc)
        if create is not None:
            first = False
            await home.request("call.create", create, attachments or ())


async def first(home: session.Session, create: calls.CallCreate, attachments: list[codec.Bytes]) -> Arrived:
    """Create a call and wait for its first output: ``follow`` without its layers, for the hottest of all paths."""
    try:
        async with contextlib.aclosing((await home.link()).stream("call.run", create, attachments)) as replies:
            async for reply in replies:
                for output in reply.body["outputs"]:
                    return await unpack(home, output, reply.attachments)
    except asking.TROUBLE:
        pass
    return await first_again(home, create, attachments)


async def first_again(
    home: session.Session, create: calls.CallCreate, attachments: list[codec.Bytes]
) -> Arrived:
    """The same when nobody knows whether it was created."""
    await home.request("call.create", create, attachments)
    query: calls.OutputQuery = {"call_id": create["call_id"], "after": 0}
    async with contextlib.aclosing(follow(home, query)) as batches:
        async for batch, received in batches:
            for output in batch["outputs"]:
                return await unpack(home, output, received)
    raise exception.InternalFailure("the call ended without a result")


def _advance(query: calls.OutputQuery, batch: calls.OutputBatch) -> None:
    """Remember how far the stream was read, for resuming it."""
    for output in batch["outputs"]:
        if output["status"] == "item":
            query["items_after"] = max(query.get("items_after", 0), output["item"] + 1)
        query["after"] = max(query.get("after", 0), output.get("seq", 0))


async def unpack(home: session.Session, output: calls.Output, attachments: list[bytes]) -> Arrived:
    """Fetch the bytes of an output."""
    value = _payload(output)
    return Arrived(output, None if value is None else await blobs.unpack(home, value, attachments))


def _payload(output: calls.Output) -> common.Payload | None:
    value = output.get("value")
    return (output.get("failure") or {}).get("error") if value is None else value


def at_hand(output: calls.Output, attachments: list[bytes]) -> Arrived | None:
    """An output whose bytes, if it has any, came with it."""
    value = _payload(output)
    if value is None:
        return Arrived(output, None)
    at = value.get("at")
    return None if at is None else Arrived(output, attachments[at])
