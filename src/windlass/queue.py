"""``Queue``: a line of values that functions and programs share; each goes to exactly one of those who wait for it."""
from __future__ import annotations

import contextlib
import functools

from windlass import exception
from windlass.client import collection, faces
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from windlass.client import line as line_module

    _Queues = list["Queue"]

_MOST_ITEM = 1024 * 1024
_MOST_VALUES = 5_000  # in a partition
_DAY = 86400


class QueueInfo:
    """What is known of a Queue.

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
        return f"QueueInfo(name={self.name!r}, created_at={self.created_at!r}, created_by={self.created_by!r})"


class Queue(collection.Collection):
    """A queue shared by functions and programs: first in, first out, each value to one getter.

    Getters are served in the order in which they came. A value that was on its way to a getter which died, or gave up,
    goes to the next one. Up to 100,000 partitions are queues of their own, with up to 5,000 values each of up to 1 MiB.
    A partition is emptied a day after the last put.

    Example:
        >>> jobs = windlass.Queue.from_name("jobs", create_if_missing=True)
        >>> jobs.put("first")
        >>> jobs.put_many(["second", "third"])
        >>> jobs.get(), jobs.get_many(10), jobs.get(block=False)
        ('first', ['second', 'third'], None)
        >>> jobs.put(1, partition="eu")
        >>> jobs.len(), jobs.len(total=True)
        (0, 1)
    """

    _prefix = "qu"
    _kind = "queue"

    # -- handles --------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        name: str,
        *,
        namespace: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: object = None,
    ) -> Queue:
        """The Queue of that name, looked up when it is first used.

        Args:
            name: letters, digits, dashes, underscores and dots, at most 64.
            namespace: accepted for compatibility.
            environment_name: the environment it belongs to.
            create_if_missing: make it then where there is none.
            client: accepted for compatibility.

        Example:
            >>> jobs = windlass.Queue.from_name("jobs", create_if_missing=True)
        """
        return Queue._named(name, environment_name, create_if_missing)

    @staticmethod
    def from_id(queue_id: str, client: object = None) -> Queue:
        """The Queue of that id."""
        return Queue._known(queue_id)

    @faces.function
    async def lookup(
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> Queue:
        """Older word for ``from_name`` and ``hydrate`` in one."""
        made = Queue.from_name(name, environment_name=environment_name, create_if_missing=create_if_missing)
        await made._ready()
        return made

    @faces.context_function
    def ephemeral(client: object = None, environment_name: str | None = None) -> AbstractAsyncContextManager[Queue]:
        """A Queue without a name, for a ``with`` block; it is deleted at its end, or when the program has ended.

        Example:
            >>> with windlass.Queue.ephemeral() as q:
            ...     q.put(1)
        """
        return collection.ephemeral(Queue, environment_name)

    @faces.function
    async def delete(name: str, *, client: object = None, environment_name: str | None = None) -> None:
        """Older word for ``Queue.objects.delete``."""
        await collection.delete(Queue, name, environment_name, allow_missing=False)

    class objects:
        """Queues with names: made, listed, deleted."""

        @faces.function
        async def create(
            name: str, *, allow_existing: bool = False, environment_name: str | None = None, client: object = None
        ) -> None:
            """Make a Queue.

            Raises:
                AlreadyExistsError: there is one of that name, and ``allow_existing`` was not given.
            """
            await collection.create(Queue, name, environment_name, allow_existing=allow_existing)

        @faces.function
        async def list(
            *,
            max_objects: int | None = None,
            created_before: datetime.datetime | str | None = None,
            environment_name: str | None = None,
            client: object = None,
        ) -> _Queues:
            """Queues of an environment, newest first."""
            return await collection.listed(Queue, environment_name, max_objects, created_before)

        @faces.function
        async def delete(
            name: str, *, allow_missing: bool = False, environment_name: str | None = None, client: object = None
        ) -> None:
            """Delete a Queue with all that is in it. Whoever waits for it gets ``NotFoundError``.

            Raises:
                NotFoundError: there is none of that name, and ``allow_missing`` was not given.
            """
            await collection.delete(Queue, name, environment_name, allow_missing=allow_missing)

    @faces.method
    async def info(self) -> QueueInfo:
        """Its name, and who made it when."""
        known = await self._asked()
        return QueueInfo(known["name"] or None, collection.utc(known["created_at"]), known["created_by"] or None)

    @faces.method
    async def get_dashboard_url(self) -> str:
        """Where it is shown in a dashboard.

        Raises:
            UnimplementedError: always: this version of Windlass has no dashboard.
        """
        raise exception.UnimplementedError(
            "this version of Windlass has no dashboard", hint="`windlass queue peek` shows what is in a Queue."
        )

    # -- put and get ----------------------------------------------------------------------------------

    @faces.opened
    def put(
        self,
        v: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = _DAY,
    ) -> Any:
        """Append a value.

        Args:
            v: up to 1 MiB when pickled.
            block: wait for room where the partition is full.
            timeout: seconds to wait; None: without end.
            partition: which one of the queue's lines; None: the one without a name.
            partition_ttl: seconds from now after which the partition is emptied, unless something is put again.

        Raises:
            queue.Full: there was no room (in time).
            RequestSizeError: the value is too large.
            SerializationError: it cannot be pickled.
        """
        return self._put([_item(v)], block, timeout, _partition(partition), _ttl(partition_ttl))

    @faces.opened
    def put_many(
        self,
        vs: Iterable[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = _DAY,
    ) -> Any:
        """Append several values, in one step as long as there are no more than 5,000 of 32 MiB together.

        Raises:
            queue.Full: there was no room for all of them (in time). Of more than one step, the first may have been put.
            RequestSizeError: one is too large.
        """
        return self._put([_item(v) for v in vs], block, timeout, _partition(partition), _ttl(partition_ttl))

    @faces.opened
    def get(self, block: bool = True, timeout: float | None = None, *, partition: str | None = None) -> Any:
        """Take the next value.

        Args:
            block: wait for one where there is none; else the result is then None.
            timeout: seconds to wait; None: without end.
            partition: which one of the queue's lines; None: the one without a name.

        Raises:
            queue.Empty: none came in time.
        """
        return self._get(1, block, timeout, _partition(partition), _first)

    @faces.opened
    def get_many(
        self, n_values: int, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Any:
        """Take up to ``n_values`` values, as soon as there is one.

        Raises:
            queue.Empty: none came in time.
        """
        if not hasattr(n_values, "__index__") or n_values < 1:
            raise exception.InvalidError(f"n_values must be a number from 1 on, not {n_values!r}")
        return self._get(min(int(n_values), _MOST_VALUES), block, timeout, _partition(partition), list)

    # -- all values -----------------------------------------------------------------------------------

    @faces.method
    async def len(self, *, partition: str | None = None, total: bool = False) -> int:
        """How many values are in a partition, or with ``total`` in all of them: then no more than 100,000 are counted.

        Raises:
            InvalidError: both were given.
        """
        from windlass.client import session

        if partition is not None and total:
            raise exception.InvalidError("len() takes a partition, or total=True, not both")
        body = {"id": await self._ready(), "partition": _partition(partition), "total": total}
        found: int = (await session.current().request("queue.len", body)).body["len"]
        return found

    @faces.method
    async def clear(self, *, partition: str | None = None, all: bool = False) -> None:
        """Remove the values of a partition, or of all partitions.

        Raises:
            InvalidError: both were given.
        """
        if partition is not None and all:
            raise exception.InvalidError("clear() takes a partition, or all=True, not both")
        await self._change("queue.clear", {"partition": _partition(partition), "all": all})

    @faces.paged
    async def iterate(
        self, *, partition: str | None = None, item_poll_timeout: float = 0.0
    ) -> AsyncGenerator[Callable[[], Iterable[Any]], None]:
        """The values of a partition in order; they stay in it.

        Args:
            partition: which one of the queue's lines; None: the one without a name.
            item_poll_timeout: seconds to wait for one more value, each time that there is none.

        Example:
            >>> for job in jobs.iterate():
            ...     print(job)
        """
        from windlass.client import line

        looking = line.look(await self._ready(), _partition(partition), item_poll_timeout)
        async with contextlib.aclosing(looking) as pages:
            async for values in pages:
                yield functools.partial(self._values, values)

    # -- inside ---------------------------------------------------------------------------------------

    def _values(self, data: Iterable[bytes]) -> Iterable[Any]:
        from windlass.client import unpickle

        for one in data:
            yield unpickle.loads(one, f"value from {self._describe()}")

    def _put(
        self, values: list[bytes], block: bool, timeout: float | None, partition: str, ttl: float
    ) -> Awaitable[Callable[[], None]]:
        from windlass.client import line

        wait = _wait(block, timeout)
        if self._object_id is None or wait is not None or not line.is_one_step(values):
            return self._put_in_steps(values, wait, partition, ttl)
        return line.Put({"id": self._object_id, "partition": partition, "ttl": ttl}, values)

    async def _put_in_steps(
        self, values: list[bytes], wait: float | None, partition: str, ttl: float
    ) -> Callable[[], None]:
        from windlass.client import line

        await line.put({"id": await self._ready(), "partition": partition, "ttl": ttl}, values, wait)
        return lambda: None

    def _get(
        self, count: int, block: bool, timeout: float | None, partition: str, form: Callable[[Iterable[Any]], Any]
    ) -> Awaitable[Callable[[], Any]]:
        import queue

        from windlass.client import line

        wait = _wait(block, timeout)
        body = {"id": self._object_id, "partition": partition, "count": count, "wait": wait != 0}

        def shaped(data: list[bytes]) -> Any:
            if block and not data:
                raise queue.Empty
            return form(self._values(data))

        getting = line.Get(body, wait, shaped)
        return getting if self._object_id is not None else self._get_when_ready(getting, body)

    async def _get_when_ready(self, getting: line_module.Get, body: dict[str, Any]) -> Callable[[], Any]:
        body["id"] = await self._ready()
        return await getting.patiently()


def _first(values: Iterable[Any]) -> Any:
    return next(iter(values), None)


def _wait(block: bool, timeout: float | None) -> float | None:
    """Seconds to wait; None: without end."""
    if not block:
        return 0.0
    if timeout is None:
        return None
    if not hasattr(timeout, "__float__") or not timeout >= 0:
        raise exception.InvalidError(f"timeout is a number of seconds from 0 on, or None, not {timeout!r}")
    return float(timeout)


def _item(value: Any) -> bytes:
    data = payload.dumps(value)
    if len(data) > _MOST_ITEM:
        raise exception.RequestSizeError(
            f"a value of {len(data):,} bytes is larger than a Queue's limit of {_MOST_ITEM:,} bytes",
            hint="Put large data into a Dict or a Volume, and its name into the Queue.",
        )
    return data


def _partition(key: object) -> str:
    if key is None:
        return ""
    if not isinstance(key, str) or not 1 <= len(key.encode("utf-8", "surrogatepass")) <= 64:
        raise exception.InvalidError(
            f"a partition's key is a string of 1 to 64 bytes, not {repr(key)[:100]}", hint="Use a digest of it."
        )
    return key


def _ttl(seconds: float) -> float:
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= 366 * _DAY:
        raise exception.InvalidError(f"partition_ttl must be more than 0 s and at most a year, not {seconds!r}")
    return float(seconds)
