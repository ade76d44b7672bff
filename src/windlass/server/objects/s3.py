"""Objects in a bucket that speaks S3, below a prefix.

Credentials, region and endpoint come from the variables that all tools of S3 know (``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``) or from the machine's role; they are handed in. Short
disturbances are ridden out here; after that whoever asked is told, because its own patience is its own business.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from windlass import exception
from windlass.server.objects import contract

T = TypeVar("T")
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]*))?\Z")
_PATIENCE = 15.0  # seconds for one request with its repetitions
_SLOWEST = 1024 * 1024  # bytes a second: large objects may take longer
_CONNECT = "5s"


class Bucket:
    """The bucket and prefix of ``url`` (``s3://bucket/prefix``). ``variables``: where, and as whom.

    Raises ``InvalidError`` for a URL that is none.
    """

    def __init__(self, url: str, variables: Mapping[str, str]) -> None:
        found = _URL.match(url)
        if found is None:
            raise exception.InvalidError(
                f"{url!r} is no place for objects", hint="Write s3://bucket or s3://bucket/prefix."
            )
        from obstore import store  # costly, and needed here only

        self._url = url
        endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL", "")
        config = {
            "access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
            "secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
            "session_token": variables.get("AWS_SESSION_TOKEN"),
            "region": variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1",
            "endpoint": endpoint,
        }
        self._store: Any = store.S3Store(
            found[1],
            prefix=(found[2] or "").strip("/") or None,
            config={key: value for key, value in config.items() if value},  # type: ignore[arg-type,misc,unused-ignore]
            client_options={"connect_timeout": _CONNECT, "timeout": "60s", "allow_http": endpoint.startswith("http:")},
            retry_config={"max_retries": 4, "retry_timeout": _seconds(_PATIENCE)},
        )

    def place(self, name: str) -> None:
        return None

    async def keep(self, name: str, source: Path) -> None:
        import obstore

        size = source.stat().st_size
        await self._in_time(obstore.put_async(self._store, name, source), size)

    async def bring(self, name: str, target: Path) -> None:
        import obstore

        size = await self.size(name)
        if size is None:
            raise exception.NotFoundError(f"no object {name} in {self._url}")
        await self._in_time(_download(obstore.get_async(self._store, name), target), size)

    async def size(self, name: str) -> int | None:
        import obstore

        try:
            return int((await self._in_time(obstore.head_async(self._store, name)))["size"])
        except exception.NotFoundError:
            return None

    async def remove(self, name: str) -> None:
        import obstore

        try:
            await self._in_time(obstore.delete_async(self._store, name))
        except exception.NotFoundError:
            pass

    async def listed(self) -> AsyncIterator[contract.Object]:
        import obstore

        pages = obstore.list(self._store)
        while (page := await self._in_time(_next(pages))) is not None:
            for one in page:
                yield contract.Object(one["path"], one["size"], one["last_modified"].timestamp())

    async def _in_time(self, work: Awaitable[T], size: int = 0) -> T:
        from obstore import exceptions

        try:
            return await asyncio.wait_for(work, 2 * _PATIENCE + size / _SLOWEST)
        except FileNotFoundError:
            raise exception.NotFoundError(f"no such object, or no such bucket: {self._url}") from None
        except asyncio.TimeoutError:
            raise self._failure("does not answer") from None
        except (exceptions.BaseError, OSError, ValueError) as exc:
            raise self._failure(_reason(exc)) from exc

    def _failure(self, why: str) -> exception.Error:
        return exception.InternalFailure(
            f"the object store {self._url} cannot be used: {why}",
            hint="Look whether it can be reached, and at the AWS_… variables that the server was started with.",
        )


async def _download(getting: Awaitable[Any], target: Path) -> None:
    found = await getting
    with target.open("wb") as file:
        async for piece in found.stream(min_chunk_size=1024 * 1024):
            file.write(piece)


async def _next(pages: Any) -> Any:
    return await anext(pages, None)


def _reason(exc: BaseException) -> str:
    """The first line of an error that may be pages long."""
    text = str(exc).strip().splitlines()
    return text[0][:300] if text else type(exc).__name__


def _seconds(number: float) -> Any:
    import datetime

    return datetime.timedelta(seconds=number)

