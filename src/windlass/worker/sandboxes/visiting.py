"""Ports of sandboxes, connected with the edge of the server: it asks for a connection, and knows it by its ticket."""
from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.kit import joined
from windlass.worker import linux

_PATIENCE = 5.0


class Where(NamedTuple):
    """A sandbox's process 1, and the address in its network that leads to what it serves: loopback, but for those with
    a kernel of gVisor's, which has its own."""

    pid: int
    address: str


class Visiting:
    """``edge``: the socket of the server's edge for those inside."""

    def __init__(self, edge: Path) -> None:
        self._edge = edge
        self._ends: dict[str, set[joined.End]] = {}

    async def connect(self, container_id: str, inside: socket.socket, ticket: str) -> None:
        """Join ``inside``, a connection with a sandbox, and the edge. Raises ``ServiceError``."""
        loop = asyncio.get_running_loop()
        mine = self._ends.setdefault(container_id, set())
        near, far = joined.End(mine.add, mine.discard), joined.End()
        try:
            await loop.create_connection(lambda: near, sock=inside)
            await loop.create_unix_connection(lambda: far, str(self._edge))
        except OSError as exc:
            near.close()
            raise exception.ServiceError(f"the edge cannot be reached: {exc}") from None
        far.write(json.dumps({"ticket": ticket}).encode() + b"\n")
        near.join(far)

    def forget(self, container_id: str) -> None:
        """It has ended: an open connection would keep its network."""
        for end in list(self._ends.pop(container_id, ())):
            end.close()


async def inside(where: Where, port: int) -> socket.socket:
    """A connection with a port. Raises ``ConflictError`` where nobody listens at it."""
    made = await _made_there(where.pid)
    if await _connected(made, where.address, port):
        return made
    raise exception.ConflictError(f"nothing listens at port {port} of the sandbox")


async def _connected(made: socket.socket, address: str, port: int) -> bool:
    """Whether it is; it is closed where it is not."""
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(made, (address, port)), _PATIENCE)
    except (OSError, asyncio.TimeoutError):
        made.close()
        return False
    except BaseException:
        made.close()
        raise
    return True


async def _made_there(pid: int) -> socket.socket:
    """A socket belongs to the network of the thread that makes it; the thread has entered the sandbox's, and ends."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as alone:
        return await asyncio.get_running_loop().run_in_executor(alone, _socket_of, pid)


def _socket_of(pid: int) -> socket.socket:
    try:
        its = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise exception.ConflictError("the sandbox has ended") from None
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, its)
        linux.setns(its, linux.NEWNET)
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
