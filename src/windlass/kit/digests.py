"""Digests of bytes as a whole, and of bytes in pieces, which several threads find out at once.

    sha256:…         of all bytes
    pieces:…         BLAKE2s, under a name of its own, of the SHA-256 of each 16 MiB, one after the other
    blake3-pieces:…  the same of the BLAKE3 of each: less than half the processor time (ADR 31)

Blobs are named by the 64 digits alone, so the last step of the others is another hash, under another name each: as a
SHA-256 it would be the name of a file, too, that holds the pieces' digests.

BLAKE3 is no part of the standard library, so whoever may meet such digests hands it in: server and worker. In
containers nobody does. Server and worker find out digests of all three kinds, for as long as there is content with
them; new ones of pieces are of the third.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

PIECE = 16 * 1024 * 1024
LARGE = 64 * 1024 * 1024
"""Bytes of a file from which on its digest is one of pieces, wherever it comes from."""
WHOLE, PIECES, BLAKE3 = "sha256:", "pieces:", "blake3-pieces:"
_PERSONS = {PIECES: b"pieces", BLAKE3: b"blake3"}
Hash = Callable[[], Any]
"""Begins a hash, as ``hashlib.sha256`` does."""


def of_pieces(digests: Iterable[bytes], kind: str = BLAKE3) -> str:
    """The digest of bytes whose pieces have these."""
    return kind + hashlib.blake2s(b"".join(digests), person=_PERSONS[kind]).hexdigest()


def name(digest: str) -> str:
    """What tells it from all others of any kind: 64 hex digits, or "" for what is no digest."""
    kind, _, found = digest.partition(":")
    is_one = f"{kind}:" in (WHOLE, PIECES, BLAKE3) and len(found) == 64 and found.isascii() and found.isalnum()
    return found if is_one else ""


class Reading:
    """Finds out the digest of bytes that come in order, of the kind that ``like`` is. ``blake3`` begins one."""

    def __init__(self, like: str, blake3: Hash) -> None:
        self._kind = next((kind for kind in (PIECES, BLAKE3) if like.startswith(kind)), WHOLE)
        self._hash = blake3 if self._kind == BLAKE3 else hashlib.sha256
        self._state = self._hash()
        self._pieces: list[bytes] = []
        self._left = PIECE

    def update(self, data: bytes | bytearray | memoryview) -> None:
        if self._kind == WHOLE:
            self._state.update(data)
            return
        view = memoryview(data)
        while len(view):
            part = view[: self._left]
            self._state.update(part)
            view, self._left = view[len(part) :], self._left - len(part)
            if not self._left:
                self._pieces.append(self._state.digest())
                self._state, self._left = self._hash(), PIECE

    def digest(self) -> str:
        """Of all bytes so far."""
        if self._kind == WHOLE:
            return WHOLE + str(self._state.hexdigest())
        last = [self._state.digest()] if self._left < PIECE else []
        return of_pieces([*self._pieces, *last], self._kind)
