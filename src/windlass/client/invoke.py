"""One call with one input: ``remote``, ``spawn``, and waiting for spawned calls.

``call.run`` creates the call and streams its outputs in one round trip. An interrupted wait cancels the call.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from windlass import exception
from windlass.client import asking, blobs, bridge, here, lane, outputs, session, tracing
from windlass.kit import ids
from windlass.wire import codec, payload, peer
from windlass.wire.messages import calls, common

if TYPE_CHECKING:
    from windlass.function import Function


def pack(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Arguments as bytes. Runs the user's pickling code: call in the user's thread."""
    try:
        return payload.dumps((args, kwargs))
    except exception.SerializationError as exc:
        raise exception.SerializationError(
            f"the arguments cannot be pickled: {exc.__cause__ or exc}",
            hint="Pass plain data, or objects that can be pickled.",
        ) from None


async def describe(
    home: session.Session, function: Function[..., Any, Any], kind: str, data: bytes, span: tracing.Call | None = None
) -> tuple[calls.CallCreate, list[codec.Bytes]]:
    """The message that creates a call with one input. ``span``: the caller's own, where traces are exported."""
    function_id = function._known_id
    if function_id is None:
        function_id = await function._ready()
        function._expect(generator=kind == "gen")
    attachments: list[codec.Bytes] = []
    where = await blobs.pack(home, data, attachments)
    return _described(function, function_id, kind, where, span), attachments


def _described(
    function: Function[..., Any, Any], function_id: str, kind: str, where: common.Payload, span: tracing.Call | None
) -> calls.CallCreate:
    create: calls.CallCreate = {
        "call_id": ids.new("fc"),
        "function_id": function_id,
        "kind": kind,
        "parent_input_id": here.input_id.get(),
        "inputs": [{"index": 0, "payload": where}],
        "closed": True,
    }
    if function._method:
        create["method"] = function._method
    if span is not None:
        create["traceparent"] = span.text
    elif ambient := tracing.ambient():
        create["traceparent"] = ambient
    return create


class Remote(bridge.Prompt):
    """Run one input and wait for its output. ``data``: its pickled arguments."""

    _outcome: bridge.Outcome | None = None
    _link: peer.Peer
    _exchange: int
    _create: calls.CallCreate

    def __init__(self, function: Function[..., Any, Any], data: bytes) -> None:
        self._function = function
        self._data = data

    def at_once(self) -> bridge.Settled | None:
        home = session.at_hand()
        if home is None or not self._is_short or not home.lane.take():
            return None
        try:
            self._describe(home)
            frame = self._asked(home)
        except exception.Error as exc:
            self._ended(type(exc).__name__)
            return bridge.Settled(None, exc)
        finally:
            home.lane.leave()
        if frame is None or not frame.body["outputs"]:
            return bridge.wait(self._watched(outputs.first_again(home, self._create, [self._data])))
        output = frame.body["outputs"][0]
        arrived = outputs.at_hand(output, frame.attachments)
        if arrived is None:
            return bridge.wait(self._watched(outputs.unpack(home, output, frame.attachments)))
        return bridge.Settled(self._opener(arrived))

    def _asked(self, home: session.Session) -> codec.Frame | None:
        try:
            return home.lane.ask("call.run", self._create, [self._data])
        except (lane.Unanswered, *asking.TROUBLE):
            return None
        except exception.Error:
            raise
        except BaseException:  # an interrupt
            bridge.soon(self._give_up)
            raise

    def begin(self, outcome: bridge.Outcome) -> Callable[[], object] | None:
        home = session.current()
        link = home.at_hand
        if link is None or not self._is_short:
            outcome.go_on(self.patiently())
            return None
        self._describe(home)
        self._exchange = link.begin(codec.STREAM, "call.run", self._create, [self._data], self)
        self._outcome, self._link = outcome, link
        return link.flush

    @property
    def _is_short(self) -> bool:
        """Whether one message creates the call."""
        return self._function._known_id is not None and len(self._data) <= payload.INLINE_LIMIT

    def _describe(self, home: session.Session) -> None:
        function, function_id = self._function, self._function._known_id
        assert function_id is not None
        self._home = home
        self._span = span = tracing.begin(f"{function._tag}.remote")
        self._create = _described(function, function_id, "remote", {"at": 0, "size": len(self._data)}, span)

    def item(self, reply: peer.Reply) -> None:
        outcome = self._outcome
        if outcome is None or not reply.body["outputs"]:
            return
        self._outcome = None
        if not reply.body["done"]:
            self._link.leave(self._exchange)
        output = reply.body["outputs"][0]
        arrived = outputs.at_hand(output, reply.attachments)
        if arrived is None:
            outcome.go_on(self._watched(outputs.unpack(self._home, output, reply.attachments)))
        else:
            outcome.settle(self._opener(arrived))

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        if error is None or isinstance(error, asking.TROUBLE):
            outcome.go_on(self._watched(outputs.first_again(self._home, self._create, [self._data])))
        else:
            self._ended(type(error).__name__)
            outcome.settle(None, error)

    def cancel(self) -> None:
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        self._link.leave(self._exchange)
        self._give_up()
        outcome.settle(None, asyncio.CancelledError())

    async def patiently(self) -> Callable[[], Any]:
        self._home = home = session.current()
        self._span = tracing.begin(f"{self._function._tag}.remote")
        self._create, attachments = await describe(home, self._function, "remote", self._data, self._span)
        return await self._watched(outputs.first(home, self._create, attachments))

    async def _watched(self, arriving: Coroutine[Any, Any, outputs.Arrived]) -> Callable[[], Any]:
        try:
            return self._opener(await arriving)
        except asyncio.CancelledError:
            self._give_up()
            raise
        except exception.Error as exc:
            self._ended(type(exc).__name__)
            raise

    def _opener(self, arrived: outputs.Arrived) -> Callable[[], Any]:
        self._ended("" if arrived.output["status"] == "success" else arrived.output["status"])
        return arrived.open

    def _ended(self, error: str) -> None:
        if self._span is not None:
            self._span.end(error)

    def _give_up(self) -> None:
        self._ended("cancelled")
        running = None if self._function._app is None else self._function._app._running
        if running is None or not running.detached:  # in a detached app a call outlives whoever made it
            self._home.post_request("call.cancel", {"call_id": self._create["call_id"]})


async def spawn(function: Function[..., Any, Any], data: bytes) -> str:
    """Enqueue one input; returns the call's id once the server has it."""
    home = session.current()
    span = tracing.begin(f"{function._tag}.spawn")
    create, attachments = await describe(home, function, "spawn", data, span)
    await home.request("call.create", create, attachments)
    if span is not None:
        span.end()
    return create["call_id"]


async def result(call_id: str, index: int, timeout: float | None) -> Callable[[], Any]:
    """Wait for the output of one input of a call. Raises ``TimeoutError`` when ``timeout`` passes before."""
    home = session.current()
    wait = timeout is None or timeout > 0
    query: calls.OutputQuery = {"call_id": call_id, "after": 0, "indexes": [index], "wait": wait}
    try:
        return await asyncio.wait_for(_result(home, query), timeout if wait else None)
    except asyncio.TimeoutError:
        raise _not_ready(call_id, timeout) from None


def _not_ready(call_id: str, timeout: float | None) -> exception.TimeoutError:
    return exception.TimeoutError(f"the result of {call_id} was not ready within {timeout or 0:g} s")


async def _result(home: session.Session, query: calls.OutputQuery) -> Callable[[], Any]:
    async with contextlib.aclosing(outputs.follow(home, query)) as batches:
        async for batch, received in batches:
            for output in batch["outputs"]:
                return (await outputs.unpack(home, output, received)).open
    if query["wait"]:
        raise exception.NotFoundError(f"call {query['call_id']} has no input number {query['indexes'][0]}")
    raise _not_ready(query["call_id"], 0)


async def gather(call_ids: list[str]) -> Callable[[], list[Any]]:
    """The first results of several calls."""
    sealed = await asyncio.gather(*(result(call_id, 0, None) for call_id in call_ids))
    return lambda: [open_one() for open_one in sealed]


async def in_order(call_id: str, start: int, end: int | None) -> AsyncGenerator[Callable[[], Any], None]:
    """Results of the inputs ``start`` to ``end`` of a call, in order."""
    home = session.current()
    if end is None:
        end = (await home.request("call.get", {"call_id": call_id})).body["num_inputs"]
    early: dict[int, outputs.Arrived] = {}
    following = start
    query: calls.OutputQuery = {"call_id": call_id, "after": 0, "indexes": list(range(start, end)), "wait": True}
    if following == end:
        return
    async with contextlib.aclosing(outputs.follow(home, query)) as batches:
        async for batch, received in batches:
            for output in batch["outputs"]:
                if output["index"] >= following:
                    early[output["index"]] = await outputs.unpack(home, output, received)
            while following in early:
                yield early.pop(following).open
                following += 1
            if following == end:
                return
