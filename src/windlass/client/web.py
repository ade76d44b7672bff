"""What decorators of web functions were asked for, checked while the user's file is imported."""
from __future__ import annotations

import re

from windlass import exception
from windlass.client import source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from windlass.wire.messages import functions

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z")
_NAMES = {"fastapi": "fastapi_endpoint", "asgi": "asgi_app", "wsgi": "wsgi_app", "server": "web_server"}


def spec(
    kind: str, *, label: str | None, custom_domains: Iterable[str] | None, requires_proxy_auth: bool, **more: Any
) -> functions.WebSpec:
    """Raises ``InvalidError`` for what cannot be served."""
    if not isinstance(requires_proxy_auth, bool):
        raise exception.InvalidError(f"requires_proxy_auth must be True or False, not {requires_proxy_auth!r}")
    made: functions.WebSpec = {
        "kind": kind,
        "label": _label(label),
        "custom_domains": _domains(custom_domains),
        "requires_proxy_auth": requires_proxy_auth,
        **more,  # type: ignore[typeddict-item]
    }
    return made


def _label(label: str | None) -> str:
    if label is None:
        return ""
    if not isinstance(label, str) or not _LABEL.match(label):
        raise exception.InvalidError(
            f"{label!r} is no label for a URL",
            hint="A label has 1 to 63 characters: a-z, 0-9, and '-' in between.",
        )
    return label


def _domains(domains: Iterable[str] | None) -> list[str]:
    if domains is None:
        return []
    if isinstance(domains, (str, bytes)):
        raise exception.InvalidError(
            "custom_domains is a list of domains, not a string", hint=f"Write custom_domains=[{domains!r}]."
        )
    found = list(domains)
    for domain in found:
        if not isinstance(domain, str) or not _DOMAIN.match(domain) or len(domain) > 253:
            raise exception.InvalidError(
                f"{domain!r} is no domain", hint="Write it whole and in small letters, like api.example.org."
            )
    return found


def method(name: str) -> str:
    """An HTTP method."""
    if not isinstance(name, str) or name.upper() not in METHODS:
        raise exception.InvalidError(f"{name!r} is no HTTP method", hint=f"One of {', '.join(METHODS)}.")
    return name.upper()


def port(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise exception.InvalidError(f"port must be a number from 1 to 65535, not {number!r}")
    return number


def startup_timeout(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise exception.InvalidError(f"startup_timeout must be more than 0 seconds, not {seconds!r}")
    return float(seconds)


def check(raw_f: Callable[..., Any], web: functions.WebSpec, *, own: int = 0) -> None:
    """Refuse functions that cannot answer requests. ``own``: parameters that are not the user's (``self``)."""
    name, shown = getattr(raw_f, "__qualname__", repr(raw_f)), _NAMES[web["kind"]]
    is_generator, is_async = source.kind(raw_f)
    if is_generator:
        raise exception.InvalidError(
            f"{name!r} is a generator function, which @{shown} cannot serve", hint="Return a streaming response."
        )
    if web["kind"] == "fastapi":
        return
    if is_async:
        raise exception.InvalidError(f"{name!r} is async, which @{shown} cannot be", hint="Write `def`.")
    code = getattr(raw_f, "__code__", None)
    if code is not None and (code.co_argcount + code.co_kwonlyargcount > own or code.co_flags & source.VARIADIC):
        raise exception.InvalidError(
            f"{name!r} has parameters, and nobody passes any to what @{shown} decorates",
            hint="What it needs per container are parameters of a class.",
        )


def check_options(*, retries: object, marks: dict[str, Any]) -> None:
    """Options that web functions do not have."""
    if retries is not None and retries != 0:
        raise exception.InvalidError("web functions have no retries=", hint="The client sees the error and may retry.")
    if "batching" in marks:
        raise exception.InvalidError("web functions cannot be batched", hint="Call a batched function from them.")
