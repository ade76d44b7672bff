"""Why packages could not be installed: an index that nobody reaches or that refuses the password is named.

pip and uv take an index that answers 401 for one that lacks the package, and say only that there is no such package.
So when such a step has failed, each index is asked once, with what the step was told.
"""
from __future__ import annotations

import asyncio
import base64
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from windlass.wire.messages import images
from windlass.worker.images import archives

_PATIENCE = 5.0  # seconds for one index
_NAMES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


async def doubts(recipe: images.Recipe, env: Mapping[str, str], *, bundle: Path | None) -> list[str]:
    """Lines about indexes of a failed step.

    ``env``: what the step saw. ``bundle``: a file of certificates, or None for the machine's.
    """
    names = (_PROJECT.match(name) for name in recipe.get("packages", []))
    project = next((found.group() for found in names if found), "pip")
    used = indexes(recipe.get("options", []), env)
    asked = [asyncio.to_thread(_doubt, index, project, env, bundle) for index in used]
    return [doubt for doubt in await asyncio.gather(*asked) if doubt]


def indexes(options: Iterable[str], env: Mapping[str, str]) -> list[str]:
    """Addresses of the indexes that a step used, by its options and its environment."""
    words = [word.partition("=")[2] if word.startswith("--") and "=" in word else word for word in options]
    told = [word for name in _NAMES for word in re.split(r"[\s,]+", env.get(name, ""))]
    named = [word.partition("=")[2] if re.match(r"[\w-]+=", word) else word for word in told]  # uv: name=address
    return list(dict.fromkeys(word for word in (*words, *named) if word.startswith(("http://", "https://"))))


def _doubt(index: str, project: str, env: Mapping[str, str], bundle: Path | None) -> str:
    shown, host = archives.open_address(index), urlsplit(index).netloc
    name = re.sub(r"[-_.]+", "-", project).lower()
    try:
        asked = _request(f"{index.rstrip('/')}/{name}/")
        with _opener(host, env, bundle).open(asked, timeout=_PATIENCE):
            return ""
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            return f"the index {shown} refuses name and password, or wants some: {exc.code} {exc.reason}"
        return "" if exc.code == HTTPStatus.NOT_FOUND else f"the index {shown} answers {exc.code} {exc.reason}"
    except (OSError, ValueError) as exc:
        return f"the index {shown} cannot be reached: {getattr(exc, 'reason', None) or exc}"


def _request(url: str) -> urllib.request.Request:
    address = urlsplit(url)
    request = urllib.request.Request(archives.open_address(url), headers={"User-Agent": "windlass"})
    if address.username is not None:
        words = f"{unquote(address.username)}:{unquote(address.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(words.encode()).decode()}")
    return request


def _opener(host: str, env: Mapping[str, str], bundle: Path | None) -> urllib.request.OpenerDirector:
    without = env.get("no_proxy") or env.get("NO_PROXY") or ""
    proxies = {}
    if not urllib.request.proxy_bypass_environment(host.rpartition("@")[2], {"no": without}):  # type: ignore[attr-defined]
        for scheme in ("http", "https"):
            names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "PIP_PROXY")
            if proxy := next((env[name] for name in names if env.get(name)), ""):
                proxies[scheme] = proxy
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=bundle))
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), secure)
