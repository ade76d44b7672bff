"""One request and its answer, without a task of the library's loop as long as all goes well."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from windlass import exception
from windlass.client import bridge, session
from windlass.wire import codec, peer

TROUBLE = (exception.ServiceError, exception.ThrottledError)
"""Of the connection, or because it came too fast: asking again helps."""


class Request(bridge.Prompt):
    """``form`` makes the result of the answer. ``once``: a change, which is numbered (``numbers``).

    For what may be left to do after the answer there is ``rest``.
    """

    _outcome: bridge.Outcome | None = None
    _home: session.Session
    _link: peer.Peer
    _exchange: int

    def __init__(
        self, method: str, body: dict[str, Any], attachments: Sequence[codec.Bytes], *,
        form: Callable[[peer.Reply], Any], once: bool = False,
    ) -> None:  # fmt: skip
        self._method, self._body, self._attachments = method, body, attachments
        self._form = form
        self._once = once
        self._number: dict[str, int] = {}

    def rest(self, reply: peer.Reply) -> Coroutine[Any, Any, Any] | None:
        """What is left to do for the result; None: nothing. It may take as long as it likes: the number is closed."""
        return None

    def begin(self, outcome: bridge.Outcome) -> Callable[[], object] | None:
        self._open()
        link = self._home.at_hand
        if link is None:
            outcome.go_on(self._insist())
            return None
        try:
            body = {**self._body, **self._number}
            self._exchange = link.begin(codec.REQUEST, self._method, body, self._attachments, self)
        except BaseException:
            self._close()
            raise
        self._outcome, self._link = outcome, link
        return link.flush

    def item(self, reply: peer.Reply) -> None:
        """A request has but one answer."""

    def over(self, reply: peer.Reply, error: exception.Error | None) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        if isinstance(error, TROUBLE):
            outcome.go_on(self._insist())
            return
        self._close()
        rest = None if error is not None else self.rest(reply)
        if rest is not None:
            outcome.go_on(rest)
            return
        outcome.settle(self._form(reply) if error is None else None, error)

    def cancel(self) -> None:
        outcome, self._outcome = self._outcome, None
        assert outcome is not None
        self._link.leave(self._exchange)
        self._close()
        outcome.settle(None, asyncio.CancelledError())

    async def patiently(self) -> Any:
        self._open()
        return await self._insist()

    async def _insist(self) -> Any:
        """Ask until there is an answer; the number is the same, so it is done once."""
        try:
            reply = await self._home.request(self._method, {**self._body, **self._number}, self._attachments)
        finally:
            self._close()
        rest = self.rest(reply)
        return self._form(reply) if rest is None else await rest

    def _open(self) -> None:
        self._home = session.current()
        if self._once:
            self._number = self._home.numbers.open()

    def _close(self) -> None:
        if self._number:
            self._home.numbers.close(self._number)
