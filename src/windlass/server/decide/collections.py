"""Rules of dicts and queues: what fits, what has expired, whose an item is."""

from __future__ import annotations

from windlass import exception

DAY = 86400.0
MOST_ENTRIES = 10_000
"""In one update."""
MOST_COUNTED = 100_000
MOST_VALUE = 100 * 1024 * 1024
MOST_KEY = 1024 * 1024
MOST_ITEMS = 5_000
"""In one partition."""
MOST_ITEM = 1024 * 1024
MOST_PARTITIONS = 100_000
MOST_PARTITION_KEY = 64


def check_key(size: int) -> None:
    if not size:
        raise exception.InvalidError("a key is empty")
    if size > MOST_KEY:
        raise exception.RequestSizeError(f"a key of {size:,} bytes is larger than the limit of {MOST_KEY:,} bytes")


def check_value(size: int) -> None:
    if size > MOST_VALUE:
        raise exception.RequestSizeError(
            f"a value of {size:,} bytes is larger than a Dict's limit of {MOST_VALUE:,} bytes",
            hint="Put large data into a Volume and keep its path in the Dict.",
        )


def check_item(size: int) -> None:
    if size > MOST_ITEM:
        raise exception.RequestSizeError(
            f"an item of {size:,} bytes is larger than a Queue's limit of {MOST_ITEM:,} bytes",
            hint="Put large data into a Dict or a Volume, and its name into the Queue.",
        )


def check_update(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise exception.RequestSizeError(
            f"an update of {entries:,} entries is larger than the limit of {MOST_ENTRIES:,}",
            hint="Update in several steps.",
        )


def check_partition(key: str) -> bytes:
    """The partition's key as bytes; "" is the one without a name."""
    encoded = key.encode("utf-8", "surrogatepass")
    if len(encoded) > MOST_PARTITION_KEY:
        raise exception.InvalidError(
            f"a partition's key has 1 to {MOST_PARTITION_KEY} bytes, not {len(encoded):,}", hint="Use a digest of it."
        )
    return encoded


def check_ttl(ttl: float) -> float:
    if not 0 < ttl <= 366 * DAY:
        raise exception.InvalidError(f"a partition lives more than 0 s and at most a year after a put, not {ttl:g} s")
    return ttl


class Expiry:
    """When entries of dicts are gone, without a write for each read.

    A read is written down only when the last note is older than ``grain``; so an entry is gone no earlier than
    ``keep`` after its last use, and no later than ``keep`` and ``grain``.
    """

    def __init__(self, keep: float, grain: float) -> None:
        self._keep = keep
        self._grain = min(grain, keep)

    def horizon(self, now: float) -> float:
        """Entries whose last note is not after this are gone."""
        return now - self._keep - self._grain

    def is_gone(self, used_at: float, now: float) -> bool:
        return used_at <= self.horizon(now)

    def is_due(self, used_at: float, now: float) -> bool:
        """Whether a read must be written down."""
        return now - used_at > self._grain


def fits(held: int, more: int) -> bool:
    """Whether a partition with ``held`` items takes ``more``."""
    return held + more <= MOST_ITEMS
