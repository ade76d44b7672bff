"""``StreamType``: where the output of a sandbox's command goes."""
from __future__ import annotations

import enum


class StreamType(enum.Enum):
    """``PIPE``: it can be read. ``STDOUT``: it is printed here. ``DEVNULL``: it is dropped."""

    PIPE = -1
    DEVNULL = -3
    STDOUT = -4

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__name__}.{self.name}"
