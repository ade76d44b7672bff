"""What a web function's URL is called, and which of two functions may have a label."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Container

from windlass import exception
from windlass.wire.messages import functions

_MOST = 63  # characters of one label of a host name
_CUT = 56
_OTHER = re.compile(r"[^a-z0-9-]")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_SUFFIX = re.compile(r"[A-Za-z0-9]{1,8}\Z")
DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z")
MAX_GRACE = 3600.0
_KINDS = frozenset({"fastapi", "asgi", "wsgi", "server"})


def webs(spec: functions.FunctionSpec) -> dict[str, functions.WebSpec]:
    """What of a function answers requests, by method; "" for functions."""
    found = {name: method["web"] for name, method in spec.get("methods", {}).items() if "web" in method}
    if "web" in spec:
        found[""] = spec["web"]
    return found


def check(spec: functions.FunctionSpec) -> None:
    """Refuse what no client of ours sends."""
    spec_webs = webs(spec).values()
    for web in spec_webs:
        if not 0 <= web.get("grace", 0.0) <= MAX_GRACE:
            raise exception.InvalidError(f"a grace of {web['grace']:g} s is not within 0 and {MAX_GRACE:g}")
        if web["kind"] not in _KINDS:
            raise exception.InvalidError(f"unknown kind of web function: {web['kind'][:60]!r}")
        if web["label"] and not _LABEL.match(web["label"]):
            raise exception.InvalidError(f"{web['label'][:80]!r} is no label for a URL")
        if web["kind"] == "server" and not 1 <= web.get("port", 0) <= 65535:
            raise exception.InvalidError("a web server needs a port from 1 to 65535")
    if any(web.get("stateless") for web in spec_webs) and "concurrency" not in spec:
        raise exception.InvalidError("a server needs to know how many requests its containers take")
    if spec_webs and spec["retries"] is not None and spec["retries"]["max_retries"]:
        raise exception.InvalidError("web functions have no retries")


def host_label(
    workspace: str, suffix: str, app: str, tag: str, method: str, web: functions.WebSpec, *, dev: str
) -> str:
    """The first part of the host name. ``dev``: what ephemeral apps append, "" for deployed ones."""
    front = f"{workspace}-{suffix}" if suffix else workspace
    name = f"{tag.removesuffix('.*')}-{method}" if method else tag
    label = web["label"] or f"{app}-{name}"
    whole = _plain(f"{front}--{label}" + (f"-{dev}" if dev else ""))
    if len(whole) <= _MOST:
        return whole
    return f"{whole[:_CUT]}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def check_suffix(text: str) -> None:
    if not _SUFFIX.match(text):
        raise exception.InvalidError(
            f"dev_suffix {text[:40]!r} is not allowed", hint="Use 1 to 8 letters and digits."
        )


def _plain(text: str) -> str:
    return _OTHER.sub("-", text.lower()).strip("-")


def read_parameter(name: str, kind: str, text: str) -> str | int | bool | bytes:
    """A class's parameter as a query writes it: integers in decimal, bytes in base64, booleans as words."""
    try:
        if kind == "int" and len(text) <= 4000:
            return int(text)
        if kind == "bytes":
            return binascii.a2b_base64(text)
    except ValueError:
        pass
    words = {"true": True, "1": True, "false": False, "0": False}
    if kind == "bool" and text.lower() in words:
        return words[text.lower()]
    if kind == "str":
        return text
    wanted = {"bool": "true or false", "bytes": "bytes in base64"}.get(kind, kind)
    raise exception.InvalidError(f"the query parameter {name!r} must be {wanted}, not {text[:60]!r}")


def registered(domain: str, known: Container[str]) -> bool:
    """Whether a domain, or all below its parent, was registered."""
    return domain in known or f"*.{domain.partition('.')[2]}" in known


def taken(label: str, mine: str, theirs: str) -> exception.ConflictError:
    """A label that somebody else has."""
    return exception.ConflictError(
        f"{mine} would have the URL label {label!r}, which {theirs} has already",
        hint="Give one of them another label=, or stop the other app.",
    )
