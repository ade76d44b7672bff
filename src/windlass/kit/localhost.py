"""Names below ``localhost`` mean this machine (RFC 6761, 6.3), which browsers know, and not every system's resolver."""
from __future__ import annotations

import functools
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_lock = threading.Lock()
_taught = False


def teach() -> None:
    """From now on ``socket.getaddrinfo`` of this process knows them, and with it all that Python programs ask by.

    The system is asked first: it may know better, or have an entry in its file of hosts.
    """
    global _taught
    with _lock:
        if not _taught:
            _taught = True
            socket.getaddrinfo = _knowing(socket.getaddrinfo)


def _knowing(system: Any) -> Any:
    @functools.wraps(system)
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return system(host, *args, **kwargs)
        except socket.gaierror:
            if not _below(host):
                raise
        return system("localhost", *args, **kwargs)

    return getaddrinfo


def _below(host: Any) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host
    return isinstance(name, str) and name.rstrip(".").lower().endswith(".localhost")
