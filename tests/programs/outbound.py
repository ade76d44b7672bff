"""Functions with lists of what they may reach, and one that says what it reached."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import windlass

app = windlass.App("test-outbound")
LISTED = os.environ.get("TEST_OTHER", "203.0.113.4")


def reach(address: str, port: int) -> str:
    """What a server answers, or the name of the error."""
    with socket.socket() as s:
        s.settimeout(5)
        try:
            s.connect((address, port))
            s.sendall(b"hello\n")
            return s.recv(100).decode().strip()
        except TimeoutError:
            return "timeout"
        except OSError as exc:
            return errno.errorcode.get(exc.errno or 0, str(exc))


def reach_all(targets: list[Any]) -> list[str]:
    return [reach(*target) for target in targets]


@app.function()
def free(targets: list[Any]) -> list[str]:
    return reach_all(targets)


@app.function(block_network=True)
def blocked(targets: list[Any]) -> list[str]:
    return reach_all(targets)


@app.function(outbound_cidr_allowlist=[LISTED], outbound_domain_allowlist=["allowed.test"])
def listed(targets: list[Any]) -> list[str]:
    return reach_all(targets)
