"""Functions that answer only who has a proxy token."""

from __future__ import annotations

from aiohttp import web as http

from windlass.server.apply import core as core_module
from windlass.server.apply import web as actions
from windlass.server.ingress import answers
from windlass.server.state import web as state


def check(core: core_module.Core, route: state.Route, request: http.BaseRequest) -> None:
    """Raises ``Refusal``: 401 without a valid token, 403 for one of another environment."""
    identity, secret = _shown(request)
    if not identity or not secret:
        raise _unknown("this needs a proxy token: send it as the headers Modal-Key and Modal-Secret")
    admitted = actions.admits(core, route.function.app.environment, identity, secret)
    if admitted is None:
        raise _unknown("this proxy token is not valid")
    if not admitted:
        raise answers.Refusal(403, "this proxy token is not valid for this environment")


def _unknown(text: str) -> answers.Refusal:
    return answers.Refusal(401, text, www_authenticate="Bearer")


def _shown(request: http.BaseRequest) -> tuple[str, str]:
    key, secret = request.headers.get("Modal-Key", ""), request.headers.get("Modal-Secret", "")
    if key or secret:
        return key.strip(), secret.strip()
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    identity, found, secret = value.strip().partition(".")
    return (identity, secret) if scheme.lower() == "bearer" and found else ("", "")
