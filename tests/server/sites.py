"""A fake runner that answers requests."""
from __future__ import annotations

import asyncio
import json

import fakes

from windlass import paths
from windlass.wire import web

ASGI = {"kind": "asgi", "label": "here", "custom_domains": [], "requires_proxy_auth": False}


def told(data: bytes) -> dict:
    """What a runner is told of a request, with its headers as text."""
    head = web.read_head(data)
    head["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in head["headers"]]
    return head


class Site:
    """Answers for the fake runners, by the connection that containers have to the edge."""

    def __init__(self) -> None:
        self.worker: fakes.Worker | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.heads: list[dict] = []
        self.paths: dict[str, object] = {}

    async def open(self, **wrong) -> asyncio.StreamWriter:
        home, plan = self.worker.home, self.worker.plans[-1]["runner"]
        path = paths.containers_socket(home).parent / web.SOCKET
        self.reader, writer = await asyncio.open_unix_connection(str(path))
        hello = {"container_id": plan["container_id"], "token": plan["token"], **wrong}
        writer.write(json.dumps(hello).encode() + b"\n")
        return writer

    async def work(self, args, kwargs, lease):
        if self.writer is None:
            self.writer = await self.open()
        head = told(args[0])
        self.heads.append(head)
        number, path = head["n"], head["path"]
        if path == "/fail":
            raise ValueError("no")
        if path == "/keep":
            return NotImplemented
        if path == "/slow":
            await asyncio.sleep(0.4)
        if path == "/strange":
            self.writer.write(web.pack(web.HEAD, number, b"{nonsense"))
            return None
        if path == "/frame":
            self.writer.write(b"\xff" * 100)
            return NotImplemented
        body = args[1] if len(args) > 1 else b"hello"
        said = json.dumps({"status": 200, "headers": [["content-length", str(len(body))]]}).encode()
        frames = ((web.HEAD, said), (web.BODY, body), (web.END, b""))
        self.writer.write(b"".join(web.pack(kind, number, data) for kind, data in frames))
        if path == "/unended":  # that it is over is said later
            return NotImplemented
        return None
