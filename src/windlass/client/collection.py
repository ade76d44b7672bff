"""What handles of dicts and queues have in common: names, lists, ends."""
from __future__ import annotations

import contextlib

from windlass import exception
from windlass.client import names, numbers
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import Self

    from windlass.client import resolver, session
    from windlass.wire.messages import collections

    C = TypeVar("C", bound="Collection")


_PAGE = 500  # of a list
_BEAT = 20.0  # seconds


class Collection(handles.Object):
    """A dict or a queue on the platform. Lazy: looked up, or made, when it is first needed."""

    _kind: ClassVar[str] = ""
    _name: str | None = None
    _environment: str = ""
    _create = False

    @classmethod
    def _named(cls, name: str, environment_name: str | None, create_if_missing: bool) -> Self:
        names.check_object(name, f"the name of a {cls.__name__}")
        made = cls._new()
        made._name, made._environment = name, names.environment(environment_name)
        made._create, made._lazy = create_if_missing, True
        return made

    @classmethod
    def _known(cls, identity: str) -> Self:
        from windlass.kit import ids

        if not isinstance(identity, str) or not ids.is_id(identity, cls._prefix):
            raise exception.InvalidError(
                f"{identity!r} is no id of a {cls.__name__}",
                hint=f"They look like {cls._prefix}-3kTMd84yYpZq0vXWb1sRNf.",
            )
        made = cls._new()
        made._lazy, made._wanted = True, identity
        return made

    _fresh = False
    """Whether this very handle made it."""
    _wanted: str | None = None
    """The id it was made from, until the server has said that there is such a thing."""

    @property
    def name(self) -> str | None:
        """Its name; None for an ephemeral one, or before a handle made from an id was first used."""
        return self._name

    def _describe(self) -> str:
        return f"{type(self).__name__} {self._name!r}" if self._name else type(self).__name__

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name, "environment": self._environment}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name, self._environment = metadata["name"], metadata["environment"]

    def __reduce__(self) -> Any:
        if self._object_id is None and self._lazy:
            return _again, (type(self), self._wanted, self._name, self._environment, self._create)
        return super().__reduce__()

    async def _load(self, context: resolver.Context) -> None:
        home = context.session
        if self._wanted is not None:
            found: Any = (await home.request(f"{self._kind}.info", {"id": self._wanted})).body
        else:
            environment = self._environment or context.environment
            how = "missing" if self._create else "never"
            found, self._fresh = await _open(home, type(self), self._name, environment, how)
        self._found(found)

    def _found(self, info: collections.CollectionInfo) -> None:
        self._hydrate(info["id"], {"name": info["name"] or None, "environment": info["environment"]})

    async def _asked(self) -> collections.CollectionInfo:
        """What the server knows of it now."""
        from windlass.client import session

        identity = await self._ready()
        info: collections.CollectionInfo = (
            await session.current().request(f"{self._kind}.info", {"id": identity})
        ).body
        return info

    async def _change(self, method: str, body: dict[str, Any], attachments: Any = ()) -> Any:
        from windlass.client import session

        home = session.current()
        return await numbers.change(home, method, {"id": await self._ready(), **body}, attachments)


def _again(cls: type[C], wanted: str | None, name: str, environment: str, create: bool) -> C:
    return cls._known(wanted) if wanted is not None else cls._named(name, environment or None, create)


async def _open(
    home: session.Session, cls: type[Collection], name: str | None, environment: str, create: str
) -> tuple[collections.CollectionInfo, bool]:
    """What it is, and whether it was made now."""
    from windlass.kit import ids

    body: collections.CollectionOpen = {"id": ids.new(cls._prefix), "create": create, "by": by()}
    if name is not None:
        body["name"] = name
    if environment:
        body["environment"] = environment
    info: collections.CollectionInfo = (await home.request(f"{cls._kind}.open", body)).body
    return info, info["id"] == body["id"]


@contextlib.asynccontextmanager
async def ephemeral(cls: type[C], environment_name: str | None) -> AsyncGenerator[C, None]:
    """One without a name, as long as the block or its client lives."""
    from windlass.client import session

    home = session.current()
    made = cls._new()
    found, _ = await _open(home, cls, None, names.environment(environment_name), "missing")
    made._found(found)
    beat = home.tasks.start(_beat(home, cls._kind, found["id"]), "beat")
    try:
        yield made
    finally:
        beat.cancel()
        await home.request(f"{cls._kind}.close", {"id": made.object_id})


async def _beat(home: session.Session, kind: str, identity: str) -> None:
    """Be there, also after a restart of the server, while the program asks for nothing: it would be taken for gone."""
    import asyncio

    while True:
        await asyncio.sleep(_BEAT)
        await home.request(f"{kind}.info", {"id": identity})


async def create(cls: type[Collection], name: str, environment_name: str | None, *, allow_existing: bool) -> None:
    from windlass.client import session

    names.check_object(name, f"the name of a {cls.__name__}")
    how = "missing" if allow_existing else "always"
    await _open(session.current(), cls, name, names.environment(environment_name), how)


async def listed(
    cls: type[C], environment_name: str | None, max_objects: int | None, created_before: datetime.datetime | str | None
) -> list[C]:
    """Handles of those with names, newest first."""
    found = []
    for info in await infos(cls._kind, environment_name, max_objects, created_before):
        one = cls._new()
        one._found(info)
        found.append(one)
    return found


async def infos(
    kind: str, environment_name: str | None, max_objects: int | None = None, created_before: Any = None
) -> list[Any]:
    """What the server lists of a kind, newest first."""
    from windlass.client import session

    if max_objects is not None and max_objects < 0:
        raise exception.InvalidError(f"max_objects must not be negative: {max_objects}")
    body: collections.CollectionList = {"environment": names.environment(environment_name)}
    if created_before is not None:
        body["created_before"] = seconds(created_before)
    found: list[Any] = []
    while max_objects is None or len(found) < max_objects:
        body["limit"] = min(_PAGE, _PAGE if max_objects is None else max_objects - len(found))
        (page,) = (await session.current().request(f"{kind}.list", body)).body.values()
        found += page
        if len(page) < body["limit"]:
            break
        body["created_before"] = page[-1]["created_at"]
    return found


def seconds(moment: datetime.datetime | str) -> float:
    """A time as people give it. Raises ``InvalidError``."""
    import datetime

    try:
        return (datetime.datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()
    except (TypeError, ValueError, AttributeError):
        raise exception.InvalidError(f"created_before must be a time, not {moment!r}") from None


def utc(seconds: float) -> datetime.datetime:
    """A time as people get it."""
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def by() -> str:
    """Who makes something: the user, or the container that it is made from."""
    import getpass

    from windlass.client import here

    if here.plan is not None:
        return here.plan["container_id"]
    try:
        return getpass.getuser()
    except (ImportError, OSError, KeyError):  # Windows, before Python 3.13, has no ``pwd``
        return ""


async def delete(cls: type[Collection], name: str, environment_name: str | None, *, allow_missing: bool) -> None:
    from windlass.client import session

    names.check_object(name, f"the name of a {cls.__name__}")
    body = {"name": name, "environment": names.environment(environment_name)}
    try:
        await numbers.change(session.current(), f"{cls._kind}.delete", body)
    except exception.NotFoundError:
        if not allow_missing:
            raise
