"""What the server needs of a place where objects are kept: five verbs. ``disk`` and ``s3`` are such places.

An object is bytes under a name that says what they are: they never change, and to keep them twice does no harm. Once
``keep`` has returned they stay, whatever is killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Object(NamedTuple):
    """``at``: when it was kept, in seconds since the epoch."""

    name: str
    size: int
    at: float


class Store(Protocol):
    """Names are relative paths of plain words. Each verb ends in some seconds, or fails.

    Raises:
        InternalFailure: the place cannot be reached, or refuses.
        ResourceExhaustedError: it is full.
    """

    def place(self, name: str) -> Path | None:
        """Where programs of this machine may read the object; None where it must be brought first."""

    async def keep(self, name: str, source: Path) -> None:
        """Keep the bytes of a file, which may be moved away."""

    async def bring(self, name: str, target: Path) -> None:
        """Write the bytes of an object into a new file. Raises ``NotFoundError``; a half file may be left then."""

    async def size(self, name: str) -> int | None:
        """Bytes; None where there is no such object."""

    async def remove(self, name: str) -> None:
        """It does not matter whether there is one."""

    def listed(self) -> AsyncIterator[Object]:
        """All objects."""
