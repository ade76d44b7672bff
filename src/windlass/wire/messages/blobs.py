"""Blobs: bytes by digest ("sha256:" and 64 hex digits)."""
from __future__ import annotations

from typing import TypedDict


class BlobQuery(TypedDict):
    digests: list[str]


class BlobMissing(TypedDict):
    missing: list[str]


class BlobPut(TypedDict):
    """One chunk (attachment 0, at most 1 MiB) of an upload, in order. With ``last`` the digest is checked."""

    upload_id: str
    digest: str
    offset: int
    last: bool


class _BlobGet(TypedDict):
    digest: str
    offset: int


class BlobGet(_BlobGet, total=False):
    """Answered by a stream of ``BlobChunk`` with one attachment each.

    ``verify``: what came before was something else: the server compares what it has with the digest first.
    """

    verify: bool


class BlobChunk(TypedDict):
    offset: int
