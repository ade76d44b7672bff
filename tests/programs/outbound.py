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


PROXY = os.environ.get("TEST_PROXY", "test-proxy")


@app.function(proxy=windlass.Proxy.from_name(PROXY))
def by_proxy(targets: list[Any]) -> list[str]:
    return reach_all(targets)


other = windlass.App("test-outbound-other")


def private_address() -> str:
    return str(socket.getaddrinfo("i6pn.modal.local", None, socket.AF_INET6)[0][4][0])


@app.function(i6pn=True, timeout=120)
def welcome(seconds: float) -> Any:
    """A generator: its private address, then who came first."""
    own = private_address()
    with socket.create_server((own, 7777), family=socket.AF_INET6) as server:
        server.settimeout(seconds)
        yield own
        while True:
            visitor, peer = server.accept()
            with visitor:
                visitor.sendall(b"welcome\n")
            yield peer[0]


def visit(address: str, port: int = 7777) -> str:
    try:
        with socket.create_connection((address, port), 3) as s:
            s.settimeout(20)
            return s.recv(100).decode().strip()
    except OSError as exc:
        return f"refused: {exc}"


@app.function(i6pn=True)
def visit_privately(address: str) -> tuple[str, str, str]:
    """What it got, its own address, and what it gets from an address of the internet."""
    return visit(address), private_address(), visit("2001:db8::1", 80)


@app.function()
def visit_without(address: str) -> str:
    return visit(address)


@other.function(i6pn=True)
def visit_from_elsewhere(address: str) -> str:
    return visit(address)
