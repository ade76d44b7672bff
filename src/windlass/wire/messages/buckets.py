"""Buckets of S3 and alike in a function's containers."""
from __future__ import annotations

from typing import TypedDict


class Notes(TypedDict, total=False):
    """Noted by the server. ``public``: somebody asks who may not have this machine reach what is behind it; False for
    its owner, and missing in records of versions that did not note it. ``alone``: they may name this endpoint, and
    nothing else is to be reached."""

    public: bool
    alone: bool


class BucketMount(Notes):
    """``endpoint`` "": S3 itself. ``prefix`` "": all of it, otherwise it ends with "/". ``secret``: its id, or "" for a
    bucket that everybody may see."""

    path: str
    bucket: str
    endpoint: str
    prefix: str
    secret: str
    read_only: bool
    requester_pays: bool
    path_style: bool


class BucketPlan(BucketMount):
    """``keys``: what the secret holds. Never logged, and never written to a disk."""

    keys: dict[str, str]
