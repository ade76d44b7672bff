"""Dicts and queues through the server's door, with numbered operations."""
from __future__ import annotations

import itertools
from collections.abc import Iterator

import fakes

from windlass.kit import ids


class Keyed:
    """A client of one dict or queue."""

    def __init__(self, client: fakes.Client, kind: str, identity: str) -> None:
        self.client = client
        self.kind = kind
        self.id = identity
        self.numbers: Iterator[int] = vars(client).setdefault("numbers", itertools.count(1))

    async def ask(self, method: str, *attachments: bytes, **body):
        return await self.client.peer.request(f"{self.kind}.{method}", {"id": self.id, **body}, attachments)

    async def change(self, method: str, *attachments: bytes, op: int = 0, **body):
        number = op or next(self.numbers)
        return await self.ask(method, *attachments, op=number, low=body.pop("low", number), **body)

    # dicts

    async def put(self, key: bytes, value: bytes, **more) -> bool:
        body = {"value": {"at": 1, "size": len(value)}, **more}
        return (await self.change("put", key, value, **body)).body["written"]

    async def get(self, key: bytes) -> bytes | None:
        return value_of(await self.ask("get", key))

    async def pop(self, key: bytes, **more) -> bytes | None:
        return value_of(await self.change("pop", key, **more))

    async def scan(self, *behind: bytes, values: bool = True) -> list[bytes]:
        found = []
        body = {"id": self.id, "values": values, "after": bool(behind)}
        async for page in self.client.peer.stream("dict.scan", body, behind):
            found += page.attachments
        return found

    # queues

    async def push(self, *values: bytes, partition: str = "", ttl: float = 60.0, **more) -> bool:
        return (await self.change("put", *values, partition=partition, ttl=ttl, **more)).body["done"]

    def waiting(self, count: int = 1, *, partition: str = "", wait: bool = True):
        """An open ``queue.get``."""
        body = {"id": self.id, "partition": partition, "count": count, "wait": wait}
        return self.client.peer.stream("queue.get", body)

    async def take(self, handed, **more) -> bool:
        return (await self.change("take", hand=handed.body["hand"], **more)).body["done"]

    async def pull(self, count: int = 1, **more) -> list[bytes]:
        """What is there now, taken."""
        async for handed in self.waiting(count, wait=False, **more):
            assert await self.take(handed)
            return handed.attachments
        return []

    async def length(self, **more) -> int:
        return (await self.ask("len", **{"partition": "", "total": False, **more})).body["len"]


def value_of(reply) -> bytes | None:
    value = reply.body.get("value")
    return None if value is None else reply.attachments[value["at"]]


async def named(client: fakes.Client, kind: str, name: str | None = "n", **more) -> Keyed:
    body = {"id": ids.new("di" if kind == "dict" else "qu"), "create": "missing", **more}
    if name is not None:
        body["name"] = name
    return Keyed(client, kind, (await client.request(f"{kind}.open", **body))["id"])
