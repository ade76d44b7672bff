"""What all parts of ``Sandbox`` share: whose handle it is, and how it asks the server."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass import io_streams
    from windlass.client import resolver
    from windlass.sandbox import Sandbox
    from windlass.wire.messages import sandboxes as messages



class Handle(handles.Object):
    """The handle of a sandbox, known as soon as the platform has accepted it."""

    _prefix = "sb"
    _code: int | None = None
    _info: messages.SandboxInfo
    _detached = False
    _readers: dict[str, io_streams.StreamReader[str]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        faces.known_as("Sandbox", cls)

    def _usable(self) -> str:
        if self._detached:
            raise exception.ClientClosed("this handle of the sandbox was detached", hint="Use Sandbox.from_id().")
        return self.object_id

    def _describe(self) -> str:
        return "Sandbox"

    def _metadata(self) -> dict[str, Any]:
        return {"info": self._info}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._info = metadata["info"]
        self._readers = {}

    async def _load(self, context: resolver.Context) -> None:
        raise exception.ExecutionError("a sandbox exists as soon as there is a handle of it")


def made(info: messages.SandboxInfo) -> Sandbox:
    from windlass.sandbox import Sandbox

    made = Sandbox._new()
    made._hydrate(info["sandbox_id"], {"info": info})
    made._code = info["code"]
    return made


def in_line(info: messages.SandboxInfo) -> str:
    """Where a sandbox stands that waits for room; "" for others."""
    return f": it is number {info['position']} of those that wait for room" if info["position"] else ""


def seconds(name: str, given: Any) -> float:
    """A checked time. Raises ``InvalidError``."""
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < float("inf"):
        raise exception.InvalidError(f"{name} must be a positive number of seconds, not {given!r}")
    return float(given)


async def request(method: str, body: Any) -> Any:
    from windlass.client import session

    return (await session.current().request(method, body)).body
