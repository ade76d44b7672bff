"""Buckets among the volumes of a function: told to the server as data."""
from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from windlass import exception
from windlass.client import object as objects
from windlass.wire.messages import buckets as messages

if TYPE_CHECKING:
    from windlass.cloud_bucket_mount import CloudBucketMount

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")


def check(one: CloudBucketMount) -> None:
    """Raise ``InvalidError`` for what no platform could mount."""
    if not isinstance(one.bucket_name, str) or not _NAME.match(one.bucket_name):
        raise exception.InvalidError(
            f"{one.bucket_name!r} is no name of a bucket", hint="A folder in it goes into key_prefix."
        )
    if one.oidc_auth_role_arn is not None:
        raise exception.UnimplementedError(
            "oidc_auth_role_arn: nobody here can vouch for a container to AWS", hint="Use a Secret with access keys."
        )
    if one.secret is not None and not isinstance(one.secret, objects.Object):
        raise exception.InvalidError(f"secret of a bucket must be a Secret, not {one.secret!r}")
    prefix = one.key_prefix or ""
    if not isinstance(prefix, str) or "\0" in prefix or ".." in prefix.split("/") or prefix.startswith("/"):
        raise exception.InvalidError(f"key_prefix {prefix!r} is not allowed")
    if one.bucket_endpoint_url is not None:
        _check_endpoint(one.bucket_endpoint_url)


def _check_endpoint(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        bare = parts.username is None and not parts.query and not parts.fragment
    except (ValueError, AttributeError, TypeError):
        fine = bare = False
    if not fine or not bare or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise exception.InvalidError(
            "bucket_endpoint_url must be an address such as 'https://s3.example.com', without a user or a query",
            hint="Keys go into secret=.",
        )


def split(mounted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, CloudBucketMount]]:
    """The volumes, and the buckets, which are no objects of the platform."""
    volumes = {path: one for path, one in mounted.items() if isinstance(one, objects.Object)}
    return volumes, {path: one for path, one in mounted.items() if path not in volumes}


def needs(mounted: Iterable[Any]) -> list[objects.Object]:
    """What must have an id before ``mounts``: the volumes themselves, and the secrets of buckets."""
    found = [one if isinstance(one, objects.Object) else one.secret for one in mounted]
    return [one for one in found if one is not None]


def mounts(buckets: Mapping[str, CloudBucketMount]) -> list[messages.BucketMount]:
    """What the server is told."""
    return [
        {
            "path": path, "bucket": one.bucket_name, "endpoint": one.bucket_endpoint_url or "",
            "prefix": one.key_prefix or "", "secret": "" if one.secret is None else one.secret.object_id,
            "read_only": bool(one.read_only), "requester_pays": bool(one.requester_pays),
            "path_style": bool(one.force_path_style),
        }
        for path, one in buckets.items()
    ]  # fmt: skip
