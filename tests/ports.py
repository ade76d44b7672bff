"""Ports of loopback for programs that must be told theirs before they listen."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def reserved() -> Iterator[int]:
    """A port that the kernel gives to nobody else meanwhile: it is bound here, and not listened at, so whoever asks for
    it by its number and with SO_REUSEADDR, as servers do, gets it all the same."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
