"""Digests of bytes as a whole, and of bytes in pieces, which several threads find out at once.

    sha256:…   of all bytes
    pieces:…   BLAKE2s, under a name of its own, of the SHA-256 of each 16 MiB, one after the other

The second costs as much processor time, but not that of one processor. Blobs are named by the 64 digits alone, so its
last step is another hash: as a SHA-256 it would be the name of a file, too, that holds the pieces' digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

PIECE = 16 * 1024 * 1024
WHOLE, PIECES = "sha256:", "pieces:"


def of_pieces(digests: Iterable[bytes]) -> str:
    """The digest of bytes whose pieces have these."""
    return PIECES + hashlib.blake2s(b"".join(digests), person=b"pieces").hexdigest()


def name(digest: str) -> str:
    """What tells it from all others of any kind: 64 hex digits, or "" for what is no digest."""
    kind, _, found = digest.partition(":")
    is_one = f"{kind}:" in (WHOLE, PIECES) and len(found) == 64 and found.isascii() and found.isalnum()
    return found if is_one else ""


class Reading:
    """Finds out the digest of bytes that come in order, of the kind that ``like`` is."""

    def __init__(self, like: str = WHOLE) -> None:
        self._state = hashlib.sha256()
        self._pieces: list[bytes] | None = [] if like.startswith(PIECES) else None
        self._left = PIECE

    def update(self, data: bytes | bytearray | memoryview) -> None:
        if self._pieces is None:
            self._state.update(data)
            return
        view = memoryview(data)
        while len(view):
            part = view[: self._left]
            self._state.update(part)
            view, self._left = view[len(part) :], self._left - len(part)
            if not self._left:
                self._close()

    def _close(self) -> None:
        assert self._pieces is not None
        self._pieces.append(self._state.digest())
        self._state, self._left = hashlib.sha256(), PIECE

    def digest(self) -> str:
        """Of all bytes so far."""
        if self._pieces is None:
            return WHOLE + self._state.hexdigest()
        last = [self._state.digest()] if self._left < PIECE else []
        return of_pieces([*self._pieces, *last])
