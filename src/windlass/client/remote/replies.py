"""Answers of HTTP servers, as far as carriers need them; and what they mean."""
from __future__ import annotations

import json
from typing import NamedTuple

from windlass import exception
from windlass.wire import carriers, status

LARGEST_HEAD = 32 * 1024
_ABSENT = (502, 503, 504)


class Gone(Exception):
    """The platform does not know the stream (any more): it was restarted, or has waited long enough."""


class NotPassed(Exception):
    """Something between, or another server, answered: this carrier does not get through."""


class Absent(NotPassed):
    """A proxy answered that nobody is behind it now."""


class Head(NamedTuple):
    code: int
    fields: dict[str, str]

    @property
    def is_ours(self) -> bool:
        """Whether the platform answered, not a proxy in its stead."""
        return carriers.SERVER.lower() in self.fields


def read_head(data: bytes) -> Head:
    """Status and header fields, by lower-case names. Raises ``NotPassed`` for what is no HTTP."""
    try:
        first, *lines = data.decode("latin-1").split("\r\n")
        version, code = first.split(" ", 2)[:2]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        return Head(int(code), fields)
    except ValueError:
        raise NotPassed(f"no answer of HTTP: {data[:60]!r}") from None


def check(head: Head, body: bytes) -> None:
    """Raise what an answer other than success means."""
    if head.code in (101, 200):
        return
    if not head.is_ours and head.code in _ABSENT:
        raise Absent(f"HTTP status {head.code} of a proxy")
    if not head.is_ours:
        raise NotPassed(f"HTTP status {head.code}, not from a platform")
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    if head.code == 426:
        raise NotPassed("a proxy in between takes away what makes a WebSocket")
    if head.code == 410:
        raise Gone(said.get("message", ""))
    raise status.from_wire(said) if said else exception.ServiceError(f"HTTP status {head.code}")
