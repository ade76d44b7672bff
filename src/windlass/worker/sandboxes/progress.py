"""How much of a command's input was written, kept where the next worker finds it: a client that was not answered sends
its piece again, and what was written already must not be written twice.

A worker that is killed between a write and its note, which are two calls in a row, has written what nobody knows of.
"""

from __future__ import annotations

import contextlib
import os
import struct

_FORM = struct.Struct("<QQ")


class Progress:
    """``place``: where in a file the note is."""

    def __init__(self, place: int = 0) -> None:
        self._place = place
        self.written = 0
        self._ended = 0  # one more than the offset of the last end
        self._strange = False

    def take_over(self, file: int) -> None:
        """Go on with what an earlier worker has noted. Raises ``OSError``."""
        found = os.pread(file, _FORM.size, self._place)
        if len(found) == _FORM.size:
            self.written, self._ended = _FORM.unpack(found)
        self._strange = True

    def missing(self, data: bytes, offset: int) -> bytes | None:
        """What of ``data`` is not written yet; None where something before it is missing.

        After a take-over whoever writes knows better: all before ``offset`` was acknowledged to them.
        """
        if self._strange:
            self.written, self._strange = max(self.written, offset), False
        return None if offset > self.written else data[self.written - offset :]

    def wrote(self, count: int, file: int) -> None:
        """Also noted in ``file``, unless that is -1."""
        self.written += count
        self._note(file)

    def ends(self, offset: int, file: int) -> bool:
        """Note that the input ends at ``offset``; False where that is known already."""
        if self._ended == offset + 1:
            return False
        self._ended = offset + 1
        self._note(file)
        return True

    def _note(self, file: int) -> None:
        if file >= 0:
            with contextlib.suppress(OSError):  # a full disk: a retried piece may come twice, once it is killed, too
                os.pwrite(file, _FORM.pack(self.written, self._ended), self._place)
