"""HTTP of those who ask for a token: two requests of the command line, and a page for a browser.

    POST /-/token/flows            who asks: {"name", "callback", "expires_in"} ─► {"flow", "code", "secret", "page"}
    POST /-/token/flows/ID/wait    with the secret as a bearer token ─► 200 and the token, or 202: not yet
    GET  /-/token/flows/ID         the page: the code, and what somebody who may approve runs
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web as http

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import flows
from windlass.server.state import identity as state
from windlass.wire import status

ROOT = "/-/token/flows"
WAIT = 40.0
"""Seconds that one request waits."""
_BODY, _PATIENCE = 4096, 20.0  # bytes of what somebody asks, and seconds for them to come
Handle = Callable[[http.BaseRequest], Awaitable[http.StreamResponse]]
Source = Callable[[http.BaseRequest], str]
"""The address of who asks."""
_CODES = ((exception.NotFoundError, 404), (exception.AuthError, 401), (exception.InvalidError, 400))


async def answer(core: core_module.Core, request: http.BaseRequest, source: str) -> http.Response | None:
    """None where the request is about something else. ``source``: who asks."""
    _, found, rest = request.path.partition(ROOT)  # behind the prefix of a proxy, if there is one
    if not found or rest[:1] not in ("", "/"):
        return None
    try:
        return await _answered(core, request, rest.strip("/"), source)
    except exception.Error as exc:
        code = next((code for kind, code in _CODES if isinstance(exc, kind)), 500)
        return _json(status.to_wire(exc), code)


def before(core: core_module.Core, handle: Handle, source: Source) -> Handle:
    """``handle``, for a listener whose other requests are about something else."""

    async def handled(request: http.BaseRequest) -> http.StreamResponse:
        asked = await answer(core, request, source(request))
        return await handle(request) if asked is None else asked

    return handled


async def _answered(core: core_module.Core, request: http.BaseRequest, rest: str, source: str) -> http.Response:
    if request.method == "GET" and rest and "/" not in rest:
        return _page(flows.of(core, rest))
    if request.method == "POST" and not rest:
        return await _begun(core, request, source)
    if request.method == "POST" and rest.endswith("/wait"):
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        shown = secret.strip() if scheme.lower() == "bearer" else ""
        made = await flows.wait(core, rest.removesuffix("/wait"), shown, WAIT)
        return _json(made or {}, 200 if made else 202)
    raise exception.NotFoundError("there is nothing here")


async def _begun(core: core_module.Core, request: http.BaseRequest, source: str) -> http.Response:
    body = await _body(request)
    name, callback, expires_in = body.get("name", ""), body.get("callback", ""), body.get("expires_in")
    if not isinstance(name, str) or not isinstance(callback, str) or not isinstance(expires_in, int | float | None):
        raise exception.InvalidError("name and callback are texts, expires_in is a number")
    flow = flows.ask(core, name=name, callback=callback, source=source, expires_in=expires_in)
    return _json({"flow": flow.id, "code": flow.code, "secret": flow.secret, "page": f"{ROOT}/{flow.id}"}, 200)


async def _body(request: http.BaseRequest) -> dict[str, Any]:
    try:
        data = await asyncio.wait_for(request.content.read(_BODY + 1), _PATIENCE)
        body = json.loads(data) if len(data) <= _BODY else None
    except (ValueError, RecursionError, TimeoutError, asyncio.TimeoutError):
        body = None
    if not isinstance(body, dict):
        raise exception.InvalidError("the body is no JSON object, or too large")
    return body


def _json(body: Any, code: int) -> http.Response:
    return http.json_response(body, status=code, headers={"Cache-Control": "no-store", "Server": "windlass"})


def _page(flow: state.Flow) -> http.Response:
    """Without scripts: it loads itself again until somebody has approved, and then leads back to who asked."""
    if flow.made is None:
        again, title = '<meta http-equiv="refresh" content="2">', "A token is asked for"
        text = (
            f"<p>{html.escape(flow.name or 'Somebody')} asks for a token, from {html.escape(flow.source)}. "
            "Compare this code with the one in the terminal:</p>"
            f"<p class=code>{flow.code}</p>"
            "<p>If they are the same, an owner or manager of the platform runs, on any machine:</p>"
            f"<pre>windlass token approve {flow.code}</pre>"
        )
    else:
        again = f'<meta http-equiv="refresh" content="0;url={html.escape(flow.callback)}">' if flow.callback else ""
        title, text = "The token was approved", "<p>You may close this page, and go back to the terminal.</p>"
    style = "body{font:16px system-ui;max-width:36em;margin:4em auto}.code{font:bold 2em monospace}pre{font-size:1.1em}"
    head = f"<!doctype html><meta charset=utf-8>{again}<title>{title}</title><style>{style}</style>"
    page = f"{head}<h1>{title}</h1>{text}"
    safe = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Server": "windlass",
    }  # fmt: skip
    return http.Response(text=page, content_type="text/html", headers=safe)
