"""``ADD`` of a URL: one file, by HTTP, through the machine's proxy and with its certificates."""
from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import posixpath
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from windlass import exception
from windlass.wire.messages import images
from windlass.worker.images import cache

MODE = 0o600  # of what is fetched, as Docker has it
_LARGEST = 16 * 1024**3
_SILENCE = 30.0  # seconds without a byte
_CHUNK = 1024 * 1024


async def fetched(
    recipe: images.Recipe, folder: Path, *, env: Mapping[str, str], bundle: Path | None, timeout: float
) -> tuple[Path, str]:
    """Put what is at the recipe's URL into ``folder``; the folder that it stands in, and its name.

    Args:
        env: with the machine's proxies.
        bundle: the machine's certificates.
        timeout: seconds for all of it.

    Raises ``ImageBuildError`` with the reason.
    """
    url, stop = recipe.get("url", ""), threading.Event()
    name = _name(url)
    if not name and recipe.get("path", "").endswith("/"):
        raise exception.ImageBuildError(f"{url} names no file: give the path of one, without a slash at the end")
    name = name or "file"
    place = folder / "fetched"
    place.mkdir()
    place.chmod(0o755)
    work = asyncio.to_thread(_download, url, place / name, _opener(env, bundle), stop, time.monotonic() + timeout)
    try:
        digest = await work
    finally:
        stop.set()
    if recipe.get("checksum") and recipe["checksum"] != f"sha256:{digest}":
        raise exception.ImageBuildError(f"{url} has the checksum sha256:{digest}, not {recipe['checksum']}")
    return place, name


def _name(url: str) -> str:
    """Of the file at ``url``; "" where it has none."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as exc:
        raise exception.ImageBuildError(f"{url!r} is no URL: {exc}") from None
    if parts.scheme not in ("http", "https"):
        raise exception.ImageBuildError(f"{url!r} is no http or https URL")
    name = posixpath.basename(urllib.parse.unquote(parts.path))
    return "" if name in (".", "..") or "\0" in name or "/" in name else name


def _opener(env: Mapping[str, str], bundle: Path | None) -> urllib.request.OpenerDirector:
    proxies = {name.lower()[: -len("_proxy")]: value for name, value in env.items() if name.lower().endswith("_proxy")}
    context = ssl.create_default_context(cafile=str(bundle) if bundle is not None else None)
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(proxies), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "windlass"), ("Accept-Encoding", "identity")]
    return opener


class _Proxies(urllib.request.ProxyHandler):
    """Asks no_proxy of the given settings, where the standard one would ask this process's environment."""

    def __init__(self, proxies: Mapping[str, str]) -> None:
        self._direct = [part.strip().lstrip(".") for part in proxies.get("no", "").split(",") if part.strip()]
        super().__init__({scheme: proxies[scheme] for scheme in ("http", "https") if proxies.get(scheme)})

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> object:
        host = urllib.parse.urlsplit(f"//{req.host}").hostname or ""
        if any(part == "*" or host == part or host.endswith(f".{part}") for part in self._direct):
            return None
        return super().proxy_open(req, proxy, type)


def _download(
    url: str, path: Path, opener: urllib.request.OpenerDirector, stop: threading.Event, deadline: float
) -> str:
    state, size = hashlib.sha256(), 0
    try:
        with opener.open(url, timeout=_SILENCE) as answer, path.open("wb") as file:
            path.chmod(0o644)
            if os.geteuid() == 0:
                os.chown(path, cache.CONTAINER_ROOT, cache.CONTAINER_ROOT)
            while data := answer.read1(_CHUNK):
                size += len(data)
                if stop.is_set():
                    raise exception.ImageBuildError("stopped")
                if time.monotonic() > deadline:
                    raise exception.ImageBuildError(f"{url} was not there in time")
                if size > _LARGEST:
                    raise exception.ImageBuildError(f"{url} has more than {_LARGEST:,} bytes")
                state.update(data)
                file.write(data)
            if size < (promised := int(answer.headers.get("Content-Length") or 0)):
                raise exception.ImageBuildError(f"{url} ended after {size:,} of {promised:,} bytes")
    except urllib.error.HTTPError as exc:
        raise exception.ImageBuildError(f"{url} answers {exc.code} {exc.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, ValueError) as exc:
        raise exception.ImageBuildError(f"{url} cannot be fetched: {getattr(exc, 'reason', exc)}") from None
    except TimeoutError:
        raise exception.ImageBuildError(f"{url} sent nothing for {_SILENCE:g} s") from None
    return state.hexdigest()
