"""Buckets of S3 and alike in a function's containers."""
from __future__ import annotations

from typing import TypedDict


class _Limits(TypedDict, total=False):
    """``public``: noted by the server where somebody asks who may not have this machine reach what is behind it."""

    public: bool


class BucketMount(_Limits):
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
