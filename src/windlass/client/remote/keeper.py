"""Keeps the line to a remote platform: carriers come and go, the bytes on it do not notice.

A connection that breaks is made again, and goes on where the other end is. Where nobody is reached for long, or the
platform does not know the line any more, it is lost: then the session makes a new one and repeats its requests.
"""
from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from windlass import exception
from windlass.client.remote import dial, place, posts, replies, sockets
from windlass.kit import tasks
from windlass.wire import peer, tether

PATIENCE = 120.0
"""Seconds without a connection after which a line is lost."""

_QUIET = 3.0  # seconds until anybody is told
_DELAYS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
Made = sockets.Made | posts.Made

_passing: dict[str, str] = {}
"""Which carrier gets through, by origin; found out once in a process."""


def carrier_to(where: place.Place) -> str:
    """What got through to it last; "" before anything did."""
    return _passing.get(where.origin, "")


async def connect(where: place.Place, owner: tasks.Tasks, told: Callable[[str], None]) -> peer.Peer:
    """A peer at the end of a new line. ``told`` hears when the connection is gone for long, and "" when it is back.

    Raises:
        OSError: nobody is reached.
        Error: the platform, or what stands before it, refuses.
    """
    made = peer.Peer()
    keeper = _Keeper(where, tether.Tether(made, remote=where.origin), told)
    keeper.line.begin()
    carrier = await keeper.open()
    owner.start(keeper.keep(carrier), "line to the platform")
    return made


class _Keeper:
    def __init__(self, where: place.Place, line: tether.Tether, told: Callable[[str], None]) -> None:
        self._where = where
        self._told = told
        self._key = secrets.token_urlsafe(24)
        self.line = line

    async def open(self) -> Made:
        """The first connection, by the first carrier that gets through."""
        refused, is_absent = "", False
        for name in self._candidates():
            try:
                made = await self._made(name, is_fresh=True)
                if await made.works():
                    _passing[self._where.origin] = name
                    return made
                await made.close()
                refused = "nothing comes through"
            except replies.Gone as exc:
                raise OSError(f"the platform forgot the connection at once: {exc}") from None
            except dial.NoTLS as exc:  # no server on its way up would answer so
                raise exception.ConnectionError(
                    f"there is no platform at {self._where.origin}: {exc}",
                    hint="Compare server_url with what `windlass server status` shows on the platform's machine: "
                    "without TLS it begins with http://.",
                ) from None
            except replies.NotPassed as exc:
                refused, is_absent = str(exc), is_absent or isinstance(exc, replies.Absent)
        if is_absent:
            raise OSError(refused)
        raise exception.ConnectionError(
            f"there is no platform at {self._where.origin}: {refused}",
            hint="Compare server_url with what `windlass server status` shows on the platform's machine. A proxy in "
            "between must pass WebSockets, or POST requests.",
        )

    def _candidates(self) -> tuple[str, ...]:
        known = _passing.get(self._where.origin)
        return (known,) if known in self._where.carriers else self._where.carriers

    async def _made(self, name: str, *, is_fresh: bool) -> Made:
        made: Made = sockets.Made(self.line) if name == place.SOCKET else posts.Made(self.line)
        await made.open(self._where, self._key, is_fresh=is_fresh)
        return made

    async def keep(self, carrier: Made) -> None:
        """Until the line ends, at whichever end."""
        try:
            while True:
                await carrier.ended.wait()
                if self.line.over:
                    return
                carrier = await self._again()
        except replies.Gone:
            self.line.lose(None)
        except exception.Error as exc:
            self.line.lose(exc)
        finally:
            self.line.close()
            await carrier.close()

    async def _again(self) -> Made:
        """Another connection for the same line."""
        began, turn, has_told = time.monotonic(), 0, False
        while not self.line.over:
            try:
                made = await self._made(_passing[self._where.origin], is_fresh=False)
                if has_told:
                    self._told("")
                return made
            except (OSError, replies.NotPassed, exception.ServiceError) as exc:  # a proxy may answer in its stead
                waited = time.monotonic() - began
                if waited > PATIENCE:
                    raise exception.ServiceError(f"{self._where.origin} was not reached for {waited:.0f} s") from exc
                if waited > _QUIET and not has_told:
                    has_told = True
                    self._told("The connection to the platform is lost; trying again")
            await asyncio.sleep(_DELAYS[min(turn, len(_DELAYS) - 1)])
            turn += 1
        raise replies.Gone("it was closed here")
