"""A handle over a function that users do not see: of a class, whose methods it serves, or of a server's program."""
from __future__ import annotations

from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self


class Handle(objects.Object):
    """What it is on the platform, it is by its ``_service``. ``_user_cls``: what was decorated, where that is here."""

    _prefix = "fu"
    _service: Any
    _user_cls: type | None = None

    @classmethod
    def _over(cls, service: Any) -> Self:
        made = cls._new()
        made._service = service
        return made

    @property
    def object_id(self) -> str:
        """The identity on the platform: that of the function which serves it."""
        return str(self._service.object_id)

    @property
    def is_hydrated(self) -> bool:
        """Whether the handle knows its identity."""
        return bool(self._service.is_hydrated)

    def _entered(self) -> None:
        """Called by the runner when the module is imported."""
        self._service._entered()

    async def _ready(self) -> str:
        return str(await self._service._ready())
