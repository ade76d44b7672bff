"""Queues as a client sees them: waiting in line, and taking what is handed over.

A value that the server hands over is the program's only after the server has confirmed that. Whoever is interrupted,
or loses the connection, before that leaves it to the next in line; interrupted after it, it is put back where it was.
"""
from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from windlass import exception
from windlass.client import asking, bridge, numbers, session
from windlass.wire import codec, peer

_MOST_ITEMS = 5_000
_MOST_BYTES = 32 * 1024 * 1024
_PATIENCE = 5.0
"""Seconds for the answer to a put, whatever its time to wait for room."""


class _Deadline:
    """``seconds``: None for one that never comes."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    @property
    def left(self) -> float | None:
        return None if self._at is None else max(0.0, self._at - asyncio.get_running_loop().time())


# -- putting


async def put(body: dict[str, Any], values: list[bytes], wait: float | None) -> None:
    """Append them, in as few steps as messages and partitions allow. ``wait``: seconds for room, None without end."""
    if wait == 0 and len(values) > _MOST_ITEMS:
        raise queue.Full
    home, deadline = session.current(), _Deadline(wait)
    for piece in _pieces(values):
        while not await _put(home, body, piece, deadline):
            if wait == 0:
                raise queue.Full
            if await _put_with_room(home, body, piece, deadline):
                break


class Put(asking.Request):
    """Append what one message and one partition take (``is_one_step``); wait for room as long as it takes."""

    def __init__(self, body: dict[str, Any], values: list[bytes]) -> None:
        super().__init__("queue.put", body, values, form=lambda reply: _nothing, once=True)
        self._values = values

    def rest(self, reply: peer.Reply) -> Coroutine[Any, Any, Callable[[], None]] | None:
        return None if reply.body["done"] else self._when_there_is_room()

    async def _when_there_is_room(self) -> Callable[[], None]:
        if not await _put_with_room(self._home, self._body, self._values, _Deadline(None)):
            await put(self._body, self._values, None)
        return _nothing


def _nothing() -> None:
    """The result of a put."""


def is_one_step(values: list[bytes]) -> bool:
    """Whether they are put by one message, as nearly all are."""
    return len(_pieces(values)) == 1


async def _put(home: session.Session, body: dict[str, Any], values: list[bytes], deadline: _Deadline) -> bool:
    asked = numbers.change(home, "queue.put", body, values)
    left = deadline.left
    if left is None:
        return bool((await asked).body["done"])
    try:
        return bool((await asyncio.wait_for(asked, max(left, _PATIENCE))).body["done"])
    except asyncio.TimeoutError:
        raise exception.TimeoutError("the platform did not answer in time: nobody knows whether it was put") from None


async def _put_with_room(home: session.Session, body: dict[str, Any], values: list[bytes], deadline: _Deadline) -> bool:
    """Wait for room, then put. False: somebody else was faster, or the connection was lost."""
    query = {"id": body["id"], "partition": body["partition"], "count": len(values)}
    patience = session.Patience()
    try:
        async with contextlib.aclosing(home.stream("queue.room", query)) as told:
            if await _next(told, deadline, queue.Full) is None:
                return False
            return await _put(home, body, values, deadline)
    except exception.ServiceError as exc:
        await patience.wait(exc)
        return False


def _pieces(values: list[bytes]) -> list[list[bytes]]:
    pieces: list[list[bytes]] = []
    size = 0
    for value in values:
        if not pieces or len(pieces[-1]) == _MOST_ITEMS or size + len(value) > _MOST_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(value)
        size += len(value)
    return pieces


# -- getting


class Got:
    """Values that are the program's, and the way to put them back."""

    def __init__(self, home: session.Session, query: dict[str, Any], reply: peer.Reply) -> None:
        self._home = home
        self.query = query
        self._reply = reply

    @property
    def values(self) -> list[bytes]:
        return self._reply.attachments

    async def back(self) -> None:
        """Nobody will use them: they go to the head of the queue."""
        handed = self._reply.body
        body = {"id": self.query["id"], "partition": self.query["partition"]}
        body |= {"part": handed["part"], "seqs": handed["seqs"]}
        await numbers.change(self._home, "queue.back", body, self.values)

    def back_later(self) -> None:
        self._home.post(self.back(), "put back")


class Taken:
    """A result on its way to the user's thread. Should nobody wait for it any more, ``dropped`` is called instead."""

    def __init__(self, got: Got | None, form: Callable[[list[bytes]], Any]) -> None:
        self._got = got
        self._form = form

    def __call__(self) -> Any:
        return self._form([] if self._got is None else self._got.values)

    def dropped(self) -> None:
        if self._got is not None:
            self._got.back_later()


class Get(bridge.Prompt):
    """``get``, with callbacks instead of a task: an item that comes is confirmed at once."""

    _outcome: bridge.Outcome | None = None
    _home: session.Session
    _link: peer.Peer
    _exchange: int
    _timer: asyncio.TimerHandle | None = None
    _got: Got | None = None
    _confirming: dict[str, Any]

    def __init__(self, body: dict[str, Any], wait: float | None, form: Callable[[list[bytes]], Any]) -> None:
        self._body = body
        self._wait = wait
        self._form = form

    def begin(self, outcome: bridge.Outcome) -> Callable[[], object] | None:
        self._home = home = session.current()
        self._deadline, link = _Deadline(self._wait or None), home.at_hand
        if link is None:
            outcome.go_on(self._insist())
            return None
        self._exchange = link.begin(codec.STREAM, "queue.get", self._body, (), self)
        if self._wait:
            self._timer = asyncio.get_running_loop().call_later(self._wait, self._late)
        self._outcome, self._link = outcome, link
        return link.flush

    def item(self, reply: peer.Reply) -> None:
        if self._outcome is None or self._got is not None:
            return
        self._stop_timer()
        self._got = Got(self._home, self._body, reply)
        self._confirming = {"id": self._body["id"], "hand": reply.body["hand"], **self._home.numbers.open()}
        self._link.begin(codec.REQUEST, "queue.take", self._confirming, (), _Confirmation(self))
        self._link.flush()

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        """Of the waiting. When something has come before, the answer to its confirmation decides."""
        if self._got is not None or (outcome := self._settling()) is None:
            return
        if error is None:
            outcome.settle(Taken(None, self._form))
        elif isinstance(error, asking.TROUBLE):
            outcome.go_on(self._insist())
        else:
            outcome.settle(None, error)

    def confirmed(self, reply: peer.Reply, error: exception.Error | None) -> None:
        got, outcome = self._got, self._settling()
        if got is None or outcome is None:
            return
        if isinstance(error, asking.TROUBLE):
            outcome.go_on(self._confirm_again(got))
            return
        self._home.numbers.close(self._confirming)
        if error is not None:
            outcome.settle(None, error)
        elif reply.body["done"]:
            outcome.settle(Taken(got, self._form))
        else:  # it has gone back
            self._link.leave(self._exchange)
            outcome.go_on(self._insist())

    def cancel(self) -> None:
        got, outcome = self._got, self._settling()
        assert outcome is not None
        self._link.leave(self._exchange)
        if got is None:
            outcome.settle(None, asyncio.CancelledError())
        else:
            outcome.go_on(self._undo(got))

    async def patiently(self) -> Taken:
        return Taken(await get(self._body, self._wait), self._form)

    async def _insist(self) -> Taken:
        """With what is left of the time."""
        left = self._deadline.left
        if left == 0:
            raise queue.Empty
        return Taken(await get(self._body, self._wait if left is None else left), self._form)

    async def _confirm_again(self, got: Got) -> Taken:
        try:
            if await _confirm(self._home, got, self._confirming):
                return Taken(got, self._form)
        finally:
            self._home.numbers.close(self._confirming)
        return await self._insist()

    async def _undo(self, got: Got) -> None:
        try:
            await _put_back(self._home, self._confirming, got)
        finally:
            self._home.numbers.close(self._confirming)
        raise asyncio.CancelledError

    def _late(self) -> None:
        if (outcome := self._settling()) is not None:
            self._link.leave(self._exchange)
            outcome.settle(None, queue.Empty())

    def _settling(self) -> bridge.Outcome | None:
        outcome, self._outcome = self._outcome, None
        self._stop_timer()
        return outcome

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Confirmation:
    """Hears the answer to ``queue.take``."""

    __slots__ = ("_of",)

    def __init__(self, of: Get) -> None:
        self._of = of

    def item(self, reply: peer.Reply) -> None:
        """A request has but one answer."""

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        self._of.confirmed(reply, error)


async def get(body: dict[str, Any], wait: float | None) -> Got | None:
    """Take what is next; None where there is nothing and ``wait`` is 0.

    Raises ``queue.Empty`` when nothing came in time.
    """
    home, deadline, patience = session.current(), _Deadline(wait or None), session.Patience()
    pace = session.Pace()
    while True:
        try:
            link = await home.link()
            async with contextlib.aclosing(link.stream("queue.get", body)) as handed:
                reply = await _next(handed, deadline, queue.Empty)
                if reply is None:
                    return None
                got = Got(home, body, reply)
                if await _take(home, got, reply.body["hand"]):
                    return got
        except exception.ServiceError as exc:
            await patience.wait(exc)
        except exception.ThrottledError as exc:
            await pace.wait(exc)
        else:
            patience = session.Patience()
        if deadline.left == 0:
            raise queue.Empty


async def _take(home: session.Session, got: Got, hand: str) -> bool:
    """Whether it is ours now. Interrupted, it is not: then it is put back as soon as that is known."""
    with home.numbers.one() as fields:
        return await _confirm(home, got, {"id": got.query["id"], "hand": hand, **fields})


async def _confirm(home: session.Session, got: Got, body: dict[str, Any]) -> bool:
    try:
        return bool((await home.request("queue.take", body)).body["done"])
    except asyncio.CancelledError:
        await _put_back(home, body, got)
        raise


async def _put_back(home: session.Session, body: dict[str, Any], got: Got) -> None:
    home.numbers.hold(body)  # the answer is wanted for longer than anybody waits here
    returned = home.tasks.start(_return(home, body, got), "return")
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(returned), _PATIENCE)


async def _return(home: session.Session, body: dict[str, Any], got: Got) -> None:
    """Ask once more what became of it: the answer is the same, as long as the number is open."""
    try:
        if (await home.request("queue.take", body)).body["done"]:
            await got.back()
    finally:
        home.numbers.close(body)


async def _next(
    items: AsyncGenerator[peer.Reply, None], deadline: _Deadline, late: type[Exception]
) -> peer.Reply | None:
    """The stream's next item, None at its end."""
    try:
        left = deadline.left
        if left is None:
            return await items.__anext__()
        return await asyncio.wait_for(items.__anext__(), left)
    except StopAsyncIteration:
        return None
    except asyncio.TimeoutError:
        raise late from None


# -- looking


async def look(identity: str, partition: str, wait: float) -> AsyncGenerator[list[bytes], None]:
    """Pages of values; goes on where it was when the connection is lost."""
    home, patience, after = session.current(), session.Patience(), 0
    while True:
        query = {"id": identity, "partition": partition, "after": after, "follow": wait > 0}
        try:
            async with contextlib.aclosing(home.stream("queue.look", query)) as pages:
                while (page := await _next(pages, _Deadline(wait or None), queue.Empty)) is not None:
                    after = page.body["last"]
                    patience = session.Patience()
                    yield page.attachments
                return
        except queue.Empty:
            return
        except exception.ServiceError as exc:
            await patience.wait(exc)
