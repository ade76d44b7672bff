"""The worker's side of a conversation with a program of the node, in packets of JSON with descriptors.

What is asked has an id, and the answer has the same. Whatever else the program says is told to the owner, and so is the
end of the conversation, after which nothing waits for an answer any more.
"""
from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

PACKET = 256 * 1024
_AT_ONCE = 64  # packets; then others have their turn, however many more there are


class Conversation:
    """``told`` is given each packet first, and returns whether it was no answer. ``over``: the program has ended."""

    def __init__(
        self, talk: socket.socket, *, told: Callable[[dict[str, Any]], bool], over: Callable[[], None]
    ) -> None:
        self._talk: socket.socket | None = talk
        self._told = told
        self._over = over
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        talk.setblocking(False)

    @property
    def open(self) -> bool:
        return self._talk is not None

    def listen(self) -> None:
        assert self._talk is not None
        asyncio.get_running_loop().add_reader(self._talk, self._heard)

    def say(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Raises ``OSError`` where nobody hears it, and for what is more than a packet: half of one would be heard as
        nonsense, and end the conversation."""
        if self._talk is None:
            raise OSError("it has ended")
        data = json.dumps(body).encode()
        if len(data) > PACKET:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        socket.send_fds(self._talk, [data], list(descriptors))

    async def ask(
        self, name: str, body: dict[str, Any], seconds: float, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """The answer. Raises ``asyncio.TimeoutError``; ``OSError`` where there will be none."""
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        try:
            self.say(body, descriptors)
            return await asyncio.wait_for(answer, seconds)
        finally:
            self._asked.pop(name, None)

    def close(self, why: str = "it has ended") -> None:
        """Hear no more; whoever waits for an answer gets none."""
        if self._talk is not None:
            asyncio.get_running_loop().remove_reader(self._talk)
            self._talk.close()
            self._talk = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(OSError(why))
                answer.exception()  # waited for or not, it is not an error of the loop

    def _heard(self) -> None:
        for _ in range(_AT_ONCE):
            if self._talk is None:
                return
            try:
                data = self._talk.recv(PACKET)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            body = _parsed(data)
            if body is None:
                self.close()
                self._over()
                return
            answer = None if self._told(body) else self._asked.get(str(body.get("id")))
            if answer is not None and not answer.done():
                answer.set_result(body)


def _parsed(data: bytes) -> dict[str, Any] | None:
    """None for the end, and for what is no packet of ours: whoever sent it is not to be spoken with."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
