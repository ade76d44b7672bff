"""A password for a registry of AWS: GetAuthorizationToken, signed with Signature Version 4.

    python -m windlass.worker.images.ecr      keys as JSON on standard input; prints {"user": …, "password": …}

A program of its own, because it must run in the machine's network (``worker.outside``). It writes what went wrong, and
never a key.
"""
from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

_TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
_KIND = "application/x-amz-json-1.1"
_ALGORITHM = "AWS4-HMAC-SHA256"
_PATIENCE = 30.0  # seconds
_BODY = b"{}"


class Keys(NamedTuple):
    """``token``: of temporary keys, else ""."""

    access: str
    secret: str
    token: str
    region: str


def endpoint(region: str) -> str:
    """Where a region answers."""
    return f"https://api.ecr.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def headers(keys: Keys, url: str, now: datetime.datetime) -> dict[str, str]:
    """All headers of the signed request. Pure; ``now`` in UTC."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    place = urlsplit(url)
    said = {"content-type": _KIND, "host": place.netloc, "x-amz-date": stamp, "x-amz-target": _TARGET}
    if keys.token:
        said["x-amz-security-token"] = keys.token
    names = ";".join(sorted(said))
    lines = "".join(f"{name}:{said[name]}\n" for name in sorted(said))
    request = f"POST\n{place.path or '/'}\n{place.query}\n{lines}\n{names}\n{hashlib.sha256(_BODY).hexdigest()}"
    scope = f"{day}/{keys.region}/ecr/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{keys.secret}".encode()
    for part in (day, keys.region, "ecr", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    said["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return said


def password(answer: Mapping[str, object]) -> tuple[str, str]:
    """User and password from the answer. Raises ``ValueError`` where there is none."""
    try:
        token = answer["authorizationData"][0]["authorizationToken"]  # type: ignore[index]
        user, _, secret = base64.b64decode(token, validate=True).decode().partition(":")
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError("AWS answered without a token") from None
    return user, secret


def _reason(exc: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(exc.read(10_000))
        return f"{said.get('__type', '')} {said.get('message') or said.get('Message') or ''}".strip() or str(exc)
    except (ValueError, AttributeError):
        return str(exc)


def main() -> int:
    """Ask; the exit code is 0 when the last line is the answer."""
    asked = json.load(sys.stdin)
    keys, url = Keys(*asked["keys"]), asked["url"] or endpoint(asked["keys"][3])
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        request = urllib.request.Request(url, _BODY, headers(keys, url, now))
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
            user, secret = password(json.load(reply))
    except urllib.error.HTTPError as exc:
        print(f"AWS refused the keys: {_reason(exc)}" if exc.code in (400, 401, 403) else f"{url}: {_reason(exc)}")
        return 1
    except (OSError, ValueError) as exc:
        print(f"no token from {url}: {getattr(exc, 'reason', exc)}")
        return 1
    print(json.dumps({"user": user, "password": secret}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
