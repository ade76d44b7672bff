"""``Dict``: a dictionary that all functions and programs share, and that stays when they end."""
from __future__ import annotations

import contextlib
import functools
import itertools

from windlass import exception
from windlass.client import collection, faces
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from windlass.client import resolver
    from windlass.wire import codec

    _Dicts = list["Dict"]

_MOST_VALUE = 100 * 1024 * 1024
_MOST_ENTRIES = 10_000

_MISSING: Any = type("Missing", (), {"__repr__": lambda self: "..."})()


class DictInfo:
    """What is known of a Dict.

    Attributes:
        name: its name; None for an ephemeral one.
        created_at: when it was made.
        created_by: the user, or the container, that made it.
    """

    __slots__ = ("created_at", "created_by", "name")

    def __init__(self, name: str | None, created_at: datetime.datetime, created_by: str | None) -> None:
        self.name = name
        self.created_at = created_at
        self.created_by = created_by

    def __repr__(self) -> str:
        return f"DictInfo(name={self.name!r}, created_at={self.created_at!r}, created_by={self.created_by!r})"


class Dict(collection.Collection):
    """A dictionary shared by functions and programs; what is in it stays until it is not used for a week.

    Keys and values are anything that can be pickled. Keys are compared by their pickled bytes: numbers, strings, and
    tuples of them are good keys. A value that was got is a copy: change it and put it back.

    Each operation on one key is done whole or not at all, in one order for all who look. Values may have up to 100 MiB.

    Example:
        >>> scores = windlass.Dict.from_name("scores", create_if_missing=True)
        >>> scores["ada"] = 3
        >>> scores.update({"bob": 5, "eve": 1})
        >>> scores.get("ada"), scores.get("nobody", 0), "bob" in scores
        (3, 0, True)
        >>> scores.put("lock", "mine", skip_if_exists=True)
        True
    """

    _prefix = "di"
    _kind = "dict"
    _data: dict[Any, Any] | None = None

    # -- handles --------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        name: str,
        data: dict[Any, Any] | None = None,
        *,
        namespace: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: object = None,
    ) -> Dict:
        """The Dict of that name, looked up when it is first used.

        Args:
            name: letters, digits, dashes, underscores and dots, at most 64.
            data: entries that it begins with, if it is made; deprecated.
            namespace: accepted for compatibility.
            environment_name: the environment it belongs to.
            create_if_missing: make it then where there is none.
            client: accepted for compatibility.

        Example:
            >>> seen = windlass.Dict.from_name("seen", create_if_missing=True)
        """
        made = Dict._named(name, environment_name, create_if_missing)
        made._data = dict(data) if data else None
        return made

    @staticmethod
    def from_id(dict_id: str, client: object = None) -> Dict:
        """The Dict of that id."""
        return Dict._known(dict_id)

    @faces.function
    async def lookup(
        name: str,
        data: dict[Any, Any] | None = None,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> Dict:
        """Older word for ``from_name`` and ``hydrate`` in one."""
        made = Dict.from_name(name, data, environment_name=environment_name, create_if_missing=create_if_missing)
        await made._ready()
        return made

    @faces.context_function
    def ephemeral(
        data: dict[Any, Any] | None = None, client: object = None, environment_name: str | None = None
    ) -> AbstractAsyncContextManager[Dict]:
        """A Dict without a name, for a ``with`` block; it is deleted at its end, or when the program has ended.

        Example:
            >>> with windlass.Dict.ephemeral() as d:
            ...     d["a"] = 1
        """
        return _ephemeral(data, environment_name)

    @faces.function
    async def delete(name: str, *, client: object = None, environment_name: str | None = None) -> None:
        """Older word for ``Dict.objects.delete``."""
        await collection.delete(Dict, name, environment_name, allow_missing=False)

    class objects:
        """Dicts with names: made, listed, deleted."""

        @faces.function
        async def create(
            name: str, *, allow_existing: bool = False, environment_name: str | None = None, client: object = None
        ) -> None:
            """Make a Dict.

            Raises:
                AlreadyExistsError: there is one of that name, and ``allow_existing`` was not given.
            """
            await collection.create(Dict, name, environment_name, allow_existing=allow_existing)

        @faces.function
        async def list(
            *,
            max_objects: int | None = None,
            created_before: datetime.datetime | str | None = None,
            environment_name: str | None = None,
            client: object = None,
        ) -> _Dicts:
            """Dicts of an environment, newest first."""
            return await collection.listed(Dict, environment_name, max_objects, created_before)

        @faces.function
        async def delete(
            name: str, *, allow_missing: bool = False, environment_name: str | None = None, client: object = None
        ) -> None:
            """Delete a Dict with all that is in it.

            Raises:
                NotFoundError: there is none of that name, and ``allow_missing`` was not given.
            """
            await collection.delete(Dict, name, environment_name, allow_missing=allow_missing)

    @faces.method
    async def info(self) -> DictInfo:
        """Its name, and who made it when."""
        known = await self._asked()
        return DictInfo(known["name"] or None, collection.utc(known["created_at"]), known["created_by"] or None)

    @faces.method
    async def get_dashboard_url(self) -> str:
        """Where it is shown in a dashboard.

        Raises:
            UnimplementedError: always: this version of Windlass has no dashboard.
        """
        raise exception.UnimplementedError(
            "this version of Windlass has no dashboard", hint="`windlass dict items` shows what is in a Dict."
        )

    async def _load(self, context: resolver.Context) -> None:
        await super()._load(context)
        if self._data and self._fresh:
            await self._update(*_packed(self._data))

    # -- one entry ------------------------------------------------------------------------------------

    @faces.opened
    def get(self, key: Any, default: Any | None = None) -> Any:
        """The value of ``key``, or ``default`` where there is none.

        Raises:
            DeserializationError: the value cannot be unpickled here.
        """
        return self._get(payload.key(key), key, default)

    @faces.opened
    def __getitem__(self, key: Any) -> Any:
        """The value of ``key``.

        Raises:
            KeyError: there is none.
        """
        return self._get(payload.key(key), key, _MISSING)

    @faces.opened
    def contains(self, key: Any) -> Any:
        """Whether there is an entry ``key``."""
        return self._has(payload.key(key))

    @faces.opened
    def __contains__(self, key: Any) -> Any:
        """Whether there is an entry ``key``."""
        return self._has(payload.key(key))

    __iter__ = None  # else Python would ask for the keys 0, 1, …; keys() goes through them

    @faces.opened
    def put(self, key: Any, value: Any, *, skip_if_exists: bool = False) -> Any:
        """Write an entry. Returns whether it was written.

        Args:
            key: what it is found by.
            value: up to 100 MiB when pickled.
            skip_if_exists: write it only where there is none of that key; of several who try at once one succeeds.

        Raises:
            SerializationError: the key or the value cannot be pickled.
            RequestSizeError: the value is too large.
        """
        return self._put(payload.key(key), _value(value), skip_if_exists)

    @faces.opened
    def __setitem__(self, key: Any, value: Any) -> Any:
        """Write an entry."""
        return self._put(payload.key(key), _value(value), False)

    @faces.opened
    def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Remove an entry and return its value; of several who try at once one gets it.

        Raises:
            KeyError: there is none, and no ``default`` was given.
        """
        return self._pop(payload.key(key), key, default)

    @faces.opened
    def __delitem__(self, key: Any) -> Any:
        """Remove an entry.

        Raises:
            KeyError: there is none.
        """
        return self._pop(payload.key(key), key, _MISSING)

    # -- all entries ----------------------------------------------------------------------------------

    @faces.opened
    def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: Any) -> Any:
        """Write up to 10,000 entries at once: nobody sees some of them without the others.

        Raises:
            RequestSizeError: there are too many, or one is too large.
        """
        return self._update(*_packed({**dict(other or {}), **kwargs}))

    @faces.method
    async def len(self) -> int:
        """How many entries there are. They are counted each time, and no more than 100,000."""
        from windlass.client import session

        found: int = (await session.current().request("dict.len", {"id": await self._ready()})).body["len"]
        return found

    @faces.method
    async def clear(self) -> None:
        """Remove all entries."""
        await self._change("dict.clear", {})

    @faces.paged
    def keys(self) -> AsyncGenerator[Callable[[], Iterator[Any]], None]:
        """All keys, in no particular order; entries written meanwhile may be missed."""
        return self._pages(lambda key, _: self._key(key), values=False)

    @faces.paged
    def values(self) -> AsyncGenerator[Callable[[], Iterator[Any]], None]:
        """All values, in no particular order; entries written meanwhile may be missed."""
        return self._pages(self._value, values=True)

    @faces.paged
    def items(self) -> AsyncGenerator[Callable[[], Iterator[tuple[Any, Any]]], None]:
        """All keys with their values, in no particular order; entries written meanwhile may be missed.

        Example:
            >>> for name, score in scores.items():
            ...     print(name, score)
        """
        return self._pages(self._item, values=True)

    # -- inside ---------------------------------------------------------------------------------------

    def _key(self, data: codec.Bytes) -> Any:
        from windlass.client import unpickle

        return unpickle.loads(data, f"key of an entry of {self._describe()}")

    def _value(self, key: bytes, data: codec.Bytes) -> Any:
        return self._opened(data, self._key(key), None)

    def _item(self, key: bytes, data: codec.Bytes) -> tuple[Any, Any]:
        return self._key(key), self._value(key, data)

    def _opened(self, data: codec.Bytes | None, key: Any, default: Any) -> Any:
        if data is not None:
            from windlass.client import unpickle

            return unpickle.loads(data, f"value of {repr(key)[:100]} in {self._describe()}")
        if default is _MISSING:
            raise KeyError(key)
        return default

    async def _get(self, packed: bytes, key: Any, default: Any) -> Callable[[], Any]:
        from windlass.client import table

        data = await table.get(await self._ready(), packed)
        return lambda: self._opened(data, key, default)

    async def _has(self, packed: bytes) -> Callable[[], bool]:
        from windlass.client import table

        found = await table.has(await self._ready(), packed)
        return lambda: found

    async def _put(self, key: bytes, value: codec.Bytes, skip_if_exists: bool) -> Callable[[], bool]:
        from windlass.client import table

        written = await table.put(await self._ready(), key, value, skip_if_exists=skip_if_exists)
        return lambda: written

    async def _pop(self, packed: bytes, key: Any, default: Any) -> Callable[[], Any]:
        from windlass.client import table

        data = await table.pop(await self._ready(), packed)
        return lambda: self._opened(data, key, default)

    async def _update(self, keys: list[bytes], values: list[bytes]) -> Callable[[], None]:
        from windlass.client import table

        await table.update(await self._ready(), keys, values)
        return lambda: None

    async def _pages(
        self, form: Callable[[bytes, codec.Bytes], Any], *, values: bool
    ) -> AsyncGenerator[Callable[[], Iterator[Any]], None]:
        from windlass.client import table

        async with contextlib.aclosing(table.scan(await self._ready(), values=values)) as pages:
            async for page in pages:
                yield functools.partial(itertools.starmap, form, page)


@contextlib.asynccontextmanager
async def _ephemeral(data: dict[Any, Any] | None, environment_name: str | None) -> AsyncGenerator[Dict, None]:
    async with collection.ephemeral(Dict, environment_name) as made:
        if data:
            await made._update(*_packed(data))
        yield made


def _value(value: Any) -> bytes:
    data = payload.dumps(value)
    if len(data) > _MOST_VALUE:
        raise exception.RequestSizeError(
            f"a value of {len(data):,} bytes is larger than a Dict's limit of {_MOST_VALUE:,} bytes",
            hint="Put large data into a Volume and keep its path in the Dict.",
        )
    return data


def _packed(entries: Mapping[Any, Any]) -> tuple[list[bytes], list[bytes]]:
    if len(entries) > _MOST_ENTRIES:
        raise exception.RequestSizeError(
            f"an update of {len(entries):,} entries is larger than the limit of {_MOST_ENTRIES:,}",
            hint="Update in several steps.",
        )
    return [payload.key(key) for key in entries], [_value(value) for value in entries.values()]
