"""What a request is about: whom it is for, and what its runner must know of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from aiohttp import web as http

from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.ingress import answers
from windlass.server.state import web as state

RESULT = "__modal_function_call_id"
"""Query parameter by which the answer of a slow request is fetched."""
SESSION = "Modal-Session-ID"
"""Header whose requests stay with one container of a server."""
MAX_BODY = 4 * 1024**3
_BY_PATH = re.compile(r"/~([a-z0-9-]{1,63})(?=/|\Z)")
_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_FORGED = frozenset({"forwarded", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                     "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server"})  # fmt: skip
_NEVER = _HOP | _FORGED
_USUAL = frozenset({"close", "keep-alive", "upgrade"})
_KEPT = frozenset({"host", "content-length", "cookie", "authorization"})
_encode = msgspec.json.encode


class Target(NamedTuple):
    """``root``: the part of the path that said whom it is for, "" where the host name did."""

    route: state.Route
    root: str
    path: str
    query: str


def target(core: core_module.Core, request: http.BaseRequest) -> Target:
    """Raises ``Refusal``."""
    path, _, query = request.raw_path.partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2] if "://" in path else "/"
    path = path.partition("#")[0]
    known = actions.routes(core)
    name = hostname(request)
    label, _, rest = name.partition(".")
    if rest == "localhost":
        route = known.get(label)
        if route is not None:
            return Target(route, "", path, query)
    elif (route := _domain(core, name)) is not None:
        return Target(route, "", path, query)
    elif (found := _BY_PATH.match(path)) is not None and (route := known.get(found[1])) is not None:
        root = found[0]
        return Target(route, root, path[len(root) :] or "/", query)
    raise answers.Refusal(404, answers.NOTHING_HERE)


def _domain(core: core_module.Core, name: str) -> state.Route | None:
    domains = core.web.domains
    return domains.get(name) or domains.get("*." + name.partition(".")[2])


def hostname(request: http.BaseRequest) -> str:
    """Of the one Host header, in small letters, without the port."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise answers.Refusal(400, "a request needs exactly one Host header")
    host = hosts[0].strip().lower() if hosts else ""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def headers(request: http.BaseRequest, *, upgrade: bool, secret: bool) -> list[list[str]]:
    """As the app sees them: what belongs to one connection is left out, what says who asks is ours to say.

    ``secret``: a proxy token, which opened the door, is not the app's to see.
    """
    dropped = _dropped(request.headers.getall("Connection", ()))
    if secret:
        dropped = dropped | {"modal-secret"}
    raw = []
    for name, value in request.raw_headers:
        small = name.decode("latin-1").lower()
        if small not in dropped:
            raw.append([small, value.decode("latin-1")])
    host = request.headers.get("Host", "")
    raw += [
        ["x-forwarded-for", request.remote or ""],
        ["x-forwarded-proto", request.scheme],
        ["x-forwarded-host", host],
    ]
    if upgrade:
        raw += [["connection", "Upgrade"], ["upgrade", request.headers.get("Upgrade", "")]]
    elif request.headers.get("Transfer-Encoding"):
        raw.append(["transfer-encoding", "chunked"])
    return raw


def _dropped(connection: Iterable[str]) -> frozenset[str]:
    """Names of headers that end here; a client may name more, but none that the app lives by."""
    named = {token.strip().lower() for value in connection for token in value.split(",")}
    return _NEVER if named <= _USUAL else _NEVER | (named - _KEPT)


def head(request: http.BaseRequest, target: Target, *, body: bool, kind: str) -> Any:
    """What makes the description of a request, once it has a number."""
    host, _, port = request.headers.get("Host", "").rpartition(":")
    described: dict[str, Any] = {
        "kind": kind,
        "method": request.method,
        "path": target.path,
        "root": target.root,
        "query": target.query,
        "version": f"{request.version.major}.{request.version.minor}",
        "scheme": request.scheme,
        "headers": headers(request, upgrade=kind != "http", secret=target.route.web["requires_proxy_auth"]),
        "client": _address(request),
        "server": [host or port, int(port) if port.isdigit() and host else 80],
        "body": body,
    }
    if kind == "websocket":
        asked = request.headers.getall("Sec-WebSocket-Protocol", [])
        described["subprotocols"] = [one.strip() for value in asked for one in value.split(",") if one.strip()]

    def made(number: int) -> bytes:
        described["n"] = number
        return _encode(described)

    return made


def _address(request: http.BaseRequest) -> list[Any]:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return [peer[0], peer[1]] if isinstance(peer, tuple) and len(peer) >= 2 else ["", 0]
