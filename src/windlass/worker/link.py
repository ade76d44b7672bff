"""The worker's connection to the server: made again for ever, with back-off; containers go on meanwhile."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import windlass
from windlass import exception, wire
from windlass.kit import ids
from windlass.wire import peer as peers
from windlass.wire import status

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0
_log = logging.getLogger(__name__)


class Link:
    """Says hello on each new connection through ``greet`` and hands what arrives to ``serve``."""

    def __init__(
        self,
        socket: Path,
        *,
        greet: Callable[[peers.Peer], Awaitable[None]],
        serve: Callable[[peers.Incoming], None],
    ) -> None:
        self._socket = socket
        self._greet = greet
        self._serve = serve
        self._client_id = ids.new("cl")
        self._peer: peers.Peer | None = None
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        wait = _FIRST_WAIT
        while True:
            try:
                await self._session()
                wait = _FIRST_WAIT
            except (OSError, exception.Error) as exc:
                _log.log(logging.DEBUG if wait < _LONGEST_WAIT else logging.INFO, "no server: %s", exc)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def call(self, method: str, body: Any, attachments: Sequence[bytes] = ()) -> Any:
        """Ask the server, through as many connections as it takes. Raises what the server answers."""
        while True:
            await self._ready.wait()
            assert self._peer is not None
            try:
                return (await self._peer.request(method, body, attachments)).body
            except exception.Error as exc:
                if status.to_wire(exc)["status"] not in status.TRANSIENT:
                    raise
            await asyncio.sleep(_FIRST_WAIT)

    async def _session(self) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def lost(_peer: peers.Peer, _exc: BaseException | None) -> None:
            self._ready.clear()
            if not over.done():
                over.set_result(None)

        _, peer = await asyncio.get_running_loop().create_unix_connection(
            lambda: peers.Peer(self._serve, lost=lost), str(self._socket)
        )
        try:
            hello = {"role": "worker", "protocol": wire.PROTOCOL, "version": _version(), "client_id": self._client_id}
            await peer.request("hello", hello)
            self._peer = peer
            await self._greet(peer)
            self._ready.set()
            _log.info("connected to the server")
            await over
        finally:
            self._ready.clear()
            peer.close()


def _version() -> str:
    return str(getattr(windlass, "__version__", ""))
