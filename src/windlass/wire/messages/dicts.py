"""Entries of dicts. Keys and values are pickled; the server compares keys as bytes and looks at neither."""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.common import Payload


class DictKey(TypedDict):
    """The key is attachment 0."""

    id: str


class DictPut(TypedDict, total=False):
    """The key is attachment 0; ``value`` points to attachment 1, or is a blob."""

    id: str
    value: Payload
    skip_if_exists: bool
    op: int
    low: int


class DictWritten(TypedDict):
    written: bool


class DictPop(TypedDict):
    """The key is attachment 0."""

    id: str
    op: int
    low: int


class DictFound(TypedDict, total=False):
    """``value`` is absent where there is no such entry."""

    value: Payload


class DictHas(TypedDict):
    found: bool


class Large(TypedDict):
    """The value of entry ``index`` is a blob; its attachment is empty."""

    index: int
    blob: str
    size: int


class DictUpdate(TypedDict):
    """Attachments: key, value, key, value, …"""

    id: str
    large: list[Large]
    op: int
    low: int


class DictClear(TypedDict):
    id: str
    op: int
    low: int


class DictLen(TypedDict):
    """At most 100,000: no more are counted."""

    len: int


class DictScan(TypedDict):
    """A stream of pages. ``after``: go on behind the key in attachment 0."""

    id: str
    values: bool
    after: bool


class DictPage(TypedDict):
    """Attachments: key, value, key, value, …; without values only keys."""

    large: list[Large]
