"""The life of every handle: described, then hydrated.

    described ── resolver.load / hydrate ──► hydrated (has an id, and metadata where needed)

A *described* object knows how to come into being (``_load``) and what must exist before (``_deps``).
A *lazy* one (``from_name``, ``from_id``) hydrates itself at the first use; others only while their app runs.
Hydrated handles travel inside arguments as id and metadata; others are refused there.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

    from typing_extensions import Self

    from windlass.client import resolver


class Object:
    """Base of all handles. Made by factories and decorators, never by calling the class."""

    _prefix: ClassVar[str] = ""
    _lazy: bool = False
    """Whether using it un-hydrated makes it hydrate itself."""

    _object_id: str | None = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise exception.InvalidError(
            f"{type(self).__name__} cannot be constructed directly",
            hint="Use one of its factory methods or the decorator that makes it.",
        )

    @classmethod
    def _new(cls) -> Self:
        """A bare, described object; the factory fills in the rest."""
        obj = object.__new__(cls)
        return obj

    # -- what kinds of objects say about themselves --

    def _describe(self) -> str:
        """For error messages: ``Function 'f'``."""
        return type(self).__name__

    def _deps(self) -> Sequence[Object]:
        """Objects that must be hydrated before this one."""
        return ()

    def _stale(self, app_id: str | None) -> bool:
        """Whether its id belongs to another app, so that it must be made anew for this one."""
        return False

    async def _load(self, context: resolver.Context) -> None:
        """Bring it into being on the server and call ``_hydrate``. Runs on the library's loop, once per load."""
        raise exception.ExecutionError(f"{self._describe()} is not running", hint="Use it inside `with app.run():`.")

    def _metadata(self) -> dict[str, Any]:
        """What a copy of the handle needs besides the id."""
        return {}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        """The reverse of ``_metadata``."""

    # -- life cycle --

    def _hydrate(self, object_id: str, metadata: dict[str, Any] | None = None) -> None:
        self._object_id = object_id
        if metadata:
            self._apply_metadata(metadata)

    def _unhydrate(self) -> None:
        self._object_id = None

    @property
    def object_id(self) -> str:
        """The identity on the server, such as ``fu-3kTMd84yYpZq0vXWb1sRNf``.

        Raises:
            ExecutionError: the object has no identity yet.
        """
        if self._object_id is None:
            raise exception.ExecutionError(f"{self._describe()} has no id yet", hint="It gets one when its app runs.")
        return self._object_id

    @property
    def is_hydrated(self) -> bool:
        """Whether the handle knows its identity."""
        return self._object_id is not None

    async def _ready(self) -> str:
        """The id, hydrating a lazy handle first. For methods that talk to the server."""
        if self._object_id is None:
            if not self._lazy:
                raise exception.ExecutionError(
                    f"{self._describe()} has not been created on the server, because its app is not running",
                    hint="Use it inside `with app.run():`, or run the file with `windlass run`.",
                )
            from windlass.client import resolver

            await resolver.load(self)
        return self.object_id

    @faces.chained
    async def hydrate(self, client: object = None) -> Self:
        """Ask the server for the identity now. Returns the object itself."""
        await self._ready()
        return self

    @faces.method
    async def get_dashboard_url(self) -> str:
        """This version has no dashboard.

        Raises:
            UnimplementedError: always.
        """
        raise no_dashboard()

    # -- travelling --

    def __reduce__(self) -> Any:
        if self._object_id is None:
            raise exception.InvalidError(
                f"{self._describe()} cannot travel: it has no id yet",
                hint="Pass only objects of a running app, or hydrate() it first.",
            )
        return restore, (type(self), self._object_id, self._metadata())

    def __repr__(self) -> str:
        return f"<{self._describe()}{f' {self._object_id}' if self._object_id else ''}>"


def no_dashboard() -> exception.UnimplementedError:
    return exception.UnimplementedError(
        "this version of Windlass has no dashboard",
        hint="`windlass app info`, `windlass function info` and `windlass call info` show what there is to see.",
    )


def restore(cls: type[Object], object_id: str, metadata: dict[str, Any]) -> Object:
    """The handle of something that exists."""
    obj = cls._new()
    obj._hydrate(object_id, metadata)
    return obj
