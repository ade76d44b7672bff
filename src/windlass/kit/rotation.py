"""A program's log that begins anew when it is large, together with what the program prints."""
from __future__ import annotations

import logging
import logging.handlers
import os
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_MOST, _KEPT = 8 * 1024 * 1024, 3


class Handler(logging.handlers.RotatingFileHandler):
    """Where standard output or error are the same file, as a supervisor makes them, they move on with it: the last
    words of a program are looked for in the newest file."""

    def doRollover(self) -> None:
        own = [number for number in (1, 2) if self._is_mine(number)]
        super().doRollover()
        if self.stream is not None:
            for number in own:
                os.dup2(self.stream.fileno(), number)

    def _is_mine(self, number: int) -> bool:
        try:
            return self.stream is not None and os.path.samestat(os.fstat(number), os.fstat(self.stream.fileno()))
        except OSError:  # closed
            return False


def log_to(path: Path, level: str | int = logging.INFO) -> Handler:
    """Let all logging of this process go there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = Handler(path, maxBytes=_MOST, backupCount=_KEPT)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    return handler
