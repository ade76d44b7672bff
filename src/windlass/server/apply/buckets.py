"""Buckets in containers: what is refused, and what a worker needs to mount them."""

from __future__ import annotations

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import secrets, volumes
from windlass.server.decide import endpoints
from windlass.wire.messages import buckets as messages

Core = core_module.Core


def mounts(core: Core, wanted: list[messages.BucketMount]) -> list[messages.BucketPlan]:
    """With the keys, for a container that starts now."""
    plans: list[messages.BucketPlan] = []
    for one in wanted:
        keys = secrets.environment_of(core, [one["secret"]] if one["secret"] else [])
        plans.append({**one, **endpoints.noted(one, core.settings.bucket_endpoints), "keys": keys})
    return plans


def bound(core: Core, wanted: list[messages.BucketMount], *, is_owner: bool) -> None:
    """Note in each what may be reached for it. Raises ``PermissionDeniedError`` for what leads elsewhere by its
    words."""
    for one in wanted:
        one.pop("alone", None)
        if is_owner:
            one["public"] = False  # said, not left out: without a word it is not known who asked
        else:
            notes = endpoints.notes(one["endpoint"], core.settings.bucket_endpoints)
            one["public"], one["alone"] = notes["public"], notes["alone"]


def check(core: Core, wanted: list[messages.BucketMount], taken: list[str]) -> None:
    """Refuse what no container could have. ``taken``: where its volumes are."""
    seen = set(taken)
    for one in wanted:
        path = one["path"]
        volumes.check_place(path, "a bucket")
        if path in seen:
            raise exception.InvalidError(f"two things shall be mounted at {path}")
        seen.add(path)
        _check_words(one)
        if one["secret"]:
            secrets.by_id(core, one["secret"])


def _check_words(one: messages.BucketMount) -> None:
    """They become words of a command's line and of its environment."""
    if not one["bucket"].replace("-", "").replace(".", "").replace("_", "").isalnum() or one["bucket"][0] in "-.":
        raise exception.InvalidError(f"{one['bucket'][:80]!r} is no name of a bucket")
    prefix, endpoint = one["prefix"], one["endpoint"]
    if "\0" in prefix or ".." in prefix.split("/") or (prefix and not prefix.endswith("/")):
        raise exception.InvalidError(f"key_prefix {prefix[:80]!r} is not allowed")
    if endpoint and not (endpoint.startswith(("http://", "https://")) and endpoint.isprintable()):
        raise exception.InvalidError(f"the endpoint {endpoint[:80]!r} of a bucket is no address")
    endpoints.named(endpoint)
