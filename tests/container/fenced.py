"""Where the programs of buckets may go, tried in a node: the second part of ``outbound.py``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from windlass.worker import egress, network, node, userns
from windlass.worker.buckets import fence, rclone
from windlass.worker.images import relay

TRY = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); s.sendall(b'x'); s.recv(9)"
OTHERS = 9000
"""A service of the node: of what only the machine itself should reach."""


async def attempts(place: node.Node, server: str, other: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with network.NetworkPool(place, size=1) as pool, _counted(egress.GATEWAY, 8000) as hits:
        fences = fence.Fences(pool, relay.Relays(socket.socket), lambda text: None)
        redirecting = {"endpoint": f"http://{server}:8000", "bucket": "b", "prefix": "", "keys": {}, **_PLAIN}
        for name, notes in (("owner", {"public": False}), ("member", {"public": True})):
            plan: Any = {**redirecting, **notes}
            before = hits()
            rules = {**plan, "endpoint": ""}  # addresses for documentation are not public: none is looked up
            async with fences.up(fence.of(plan, f"{name}+0"), rules) as line:
                await userns.supervise(
                    [*line, *rclone.listing(plan)], env=rclone.environment(plan), log=lambda _: None, timeout=20
                )
                found[name] = hits() - before
                found[f"{name} outside"] = await _reach(line, server, 80)
        plan = {**redirecting, "endpoint": f"http://{server}:80", "alone": True}
        async with fences.up(fence.of(plan, "alone+0"), plan) as line:
            found["alone"] = [await _reach(line, *there) for there in ((server, 80), (server, 443), (other, 80))]
        async with _counted("127.0.0.1", OTHERS) as hits:
            plan = {**redirecting, "endpoint": f"http://127.0.0.1:{OTHERS}", "alone": True}
            mine = fence.of(plan, "kept+0")
            with contextlib.suppress(asyncio.CancelledError):
                async with fences.up(mine, plan) as line:
                    found["loopback"] = [await _reach(line, *there) for there in (("127.0.0.1", OTHERS), (server, 80))]
                    raise asyncio.CancelledError  # the worker ends, and the mount goes on
            found["between"] = await _reach(line, "127.0.0.1", OTHERS)
            pool.retain(["kept"])
            async with fences.up(mine, None) as line:
                found["after"] = await _reach(line, "127.0.0.1", OTHERS)
        found["left over"] = [name for name in pool._owned if "+" in name]
    return found


_PLAIN = {"path": "/b", "secret": "", "read_only": False, "requester_pays": False, "path_style": True}


async def _reach(line: list[str], host: str, port: int) -> bool:
    process = await asyncio.create_subprocess_exec(*line, "python3", "-S", "-c", TRY, host, str(port), stderr=-3)
    return await process.wait() == 0


@contextlib.asynccontextmanager
async def _counted(host: str, port: int) -> AsyncIterator[Any]:
    seen = []

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)
        writer.write(b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, host, port):
        yield lambda: len(seen)
