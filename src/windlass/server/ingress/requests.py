"""What a request is about: whom it is for, and what its runner must know of it."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web as http

from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.decide import fronts as decisions
from windlass.server.ingress import answers, fronts
from windlass.server.state import web as state
from windlass.wire import web

RESULT = "__modal_function_call_id"
"""Query parameter by which the answer of a slow request is fetched."""
SESSION = "Modal-Session-ID"
"""Header whose requests stay with one container of a server."""
MAX_BODY = 4 * 1024**3
_BY_PATH = re.compile(r"/~([a-z0-9-]{1,63})(?=/|\Z)")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
_FORGED = frozenset({b"forwarded", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
                     b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server"})  # fmt: skip
_NEVER = _HOP | _FORGED
_USUAL = frozenset({"close", "keep-alive", "upgrade"})
_KEPT = frozenset({"host", "content-length", "cookie", "authorization"})


class Plain:
    """A request that nobody made an object of: what its parser says of it, in the words of ``BaseRequest``."""

    __slots__ = ("headers", "method", "raw_headers", "raw_path", "transport", "version")

    def __init__(self, message: Any, transport: Any) -> None:
        self.headers, self.raw_headers, self.method = message.headers, message.raw_headers, message.method
        self.raw_path, self.version, self.transport = message.path, message.version, transport

    @property
    def scheme(self) -> str:
        secure = self.transport is not None and self.transport.get_extra_info("sslcontext")
        return "https" if secure else "http"


def shown(request: http.BaseRequest | Plain) -> str:
    """The path, for the access log."""
    path = request.raw_path.partition("?")[0][:200]
    return path if path.isascii() else path.encode("ascii", "backslashreplace").decode()


class Target(NamedTuple):
    """``root``: the part of the path that said whom it is for, "" where the host name did. ``client``: who asks."""

    route: state.Route
    root: str
    path: str
    query: str
    client: decisions.Client


class Known(NamedTuple):
    """Whom the last request of a connection was for: its next one, for the same host, is for them, too.
    ``routes``: those of then."""

    host: str
    route: state.Route
    client: decisions.Client
    routes: dict[str, state.Route]


def again(core: core_module.Core, known: Known | None, request: Plain) -> Target | None:
    """Whom a request is for, as the one before it on its connection was; None where that must be looked up."""
    path, _, query = request.raw_path.partition("?")
    if known is None or path[:1] != "/" or path[1:2] == "~" or "#" in path:
        return None  # a path may say whom it is for
    if known.routes is not actions.routes(core) or request.headers.getall("Host", ()) != [known.host]:
        return None
    return Target(known.route, "", path, query, known.client)


def client(front: fronts.Fronts, request: http.BaseRequest) -> decisions.Client:
    """Who asks. Raises ``Refusal``."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise answers.Refusal(400, "a request needs exactly one Host header")
    return front.client(request, hosts)


def target(core: core_module.Core, client: decisions.Client, request: http.BaseRequest) -> Target:
    """Raises ``Refusal``."""
    path, _, query = request.raw_path.partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2] if "://" in path else "/"
    path = path.partition("#")[0]
    known = actions.routes(core)
    name = hostname(client.host)
    label, _, rest = name.partition(".")
    if ours(core, rest):
        route = known.get(label)
        if route is not None:
            return Target(route, "", path, query, client)
    elif (route := _domain(core, name)) is not None:
        return Target(route, "", path, query, client)
    elif (found := _BY_PATH.match(path)) is not None and (route := known.get(found[1])) is not None:
        root = found[0]
        return Target(route, root, path[len(root) :] or "/", query, client)
    raise answers.Refusal(404, answers.NOTHING_HERE)


def ours(core: core_module.Core, domain: str) -> bool:
    """Whether labels below that domain are ours."""
    return domain == "localhost" or (core.web.outside is not None and domain == core.web.outside.domain)


def _domain(core: core_module.Core, name: str) -> state.Route | None:
    domains = core.web.domains
    return domains.get(name) or domains.get("*." + name.partition(".")[2])


def hostname(host: str) -> str:
    """Of a Host header, in small letters, without the port."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def headers(
    request: http.BaseRequest | Plain, client: decisions.Client, *, upgrade: bool, secret: bool
) -> list[bytes]:
    """As the app sees them, in lines: what belongs to one connection is left out, what says who asks is ours to say.

    ``secret``: a proxy token, which opened the door, is not the app's to see.
    """
    dropped = _dropped(request.headers.getall("Connection", ()))
    if secret:
        dropped = dropped | {b"modal-secret"}
    lines = []
    for name, value in request.raw_headers:
        small = name.lower()
        if small not in dropped:
            lines.append(b"%b: %b" % (small, value))
    lines += _seen(client)[1]
    if upgrade:
        lines += [b"connection: Upgrade", b"upgrade: " + _bytes(request.headers.get("Upgrade", ""))]
    elif request.headers.get("Transfer-Encoding"):
        lines.append(b"transfer-encoding: chunked")
    return lines


def _dropped(connection: Sequence[str]) -> frozenset[bytes]:
    """Names of headers that end here; a client may name more, but none that the app lives by."""
    if not connection:
        return _NEVER
    named = {token.strip().lower() for value in connection for token in value.split(",")}
    return _NEVER if named <= _USUAL else _NEVER | {_bytes(name) for name in named - _KEPT}


def _bytes(text: str) -> bytes:
    """As they came: so the parser made text of them."""
    return text.encode("utf-8", "surrogateescape")


@functools.lru_cache(1024)
def _seen(client: decisions.Client) -> tuple[str, list[bytes]]:
    """What an app sees of the client and of the address that it asked; headers that say so, too."""
    host, _, port = client.host.rpartition(":")
    if not _PORT.match(port) or not host:
        host, port = client.host, "443" if client.scheme == "https" else "80"
    said = ((b"for", client.address), (b"proto", client.scheme), (b"host", client.host))
    forwarded = [b"x-forwarded-%b: %b" % (name, _bytes(value)) for name, value in said]
    return web.ends(client.scheme, client.address, client.port, host, int(port)), forwarded


def head(request: http.BaseRequest | Plain, target: Target, *, body: bool, kind: str) -> bytes:
    """What the runner must know of a request, but for its number."""
    ends, _ = _seen(target.client)
    lines = headers(request, target.client, upgrade=kind != "http", secret=target.route.web["requires_proxy_auth"])
    major, minor = request.version
    return web.head(
        kind, request.method, target.path, target.root, target.query, f"{major}.{minor}", ends, lines, body=body,
        protocols=",".join(request.headers.getall("Sec-WebSocket-Protocol", ())) if kind == "websocket" else "",
    )  # fmt: skip
