"""Its memory at one moment, and another sandbox from there."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.client import object as handles
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.client import resolver
    from windlass.sandbox import Sandbox
    from windlass.wire.messages import sandboxes as messages


_INHERITED = "(inherited)"  # no name that could be given


class Memory(handle.Handle):
    """The members of ``Sandbox`` that keep its memory."""

    @faces.method
    async def _experimental_snapshot(self, *, timeout: int = 300) -> SandboxSnapshot:
        """Keep its memory and its files at this moment, for seven days. It ends with that; a sandbox that is made from
        the snapshot goes on, without its network connections.

        It must have been made with ``_experimental_enable_snapshot=True``, and no command of ``exec`` may run.

        Raises:
            InvalidError: it was not made for snapshots.
            ConflictError: commands run in it, or it has ended.
            UnimplementedError: this machine has no mechanism for it; ``windlass doctor`` says why.

        Example:
            >>> snapshot = sandbox._experimental_snapshot()
            >>> again = windlass.Sandbox._experimental_from_snapshot(snapshot)
        """
        from windlass.kit import ids

        time = handle.seconds("timeout", timeout)
        body = {"sandbox_id": self._usable(), "snapshot_id": ids.new("sn"), "seconds": time}
        return SandboxSnapshot._of(await handle.request("sandbox.memory", body))

    @staticmethod
    @faces.function
    async def _experimental_from_snapshot(
        snapshot: SandboxSnapshot, client: object = None, *, name: str | None = _INHERITED
    ) -> Sandbox:
        """A sandbox that goes on where another one was.

        Args:
            snapshot: of the other one.
            client: accepted for compatibility.
            name: a new one, None for none; by default the name that the other one had.

        Raises:
            NotFoundError: the time of the snapshot is over.
            AlreadyExistsError: a sandbox of that name runs.
        """
        from windlass.client import sandboxes
        from windlass.kit import ids

        if not isinstance(snapshot, SandboxSnapshot):
            raise exception.InvalidError(f"snapshot must be a SandboxSnapshot, not {type(snapshot).__name__}")
        body: dict[str, Any] = {"snapshot_id": snapshot.object_id, "sandbox_id": ids.new("sb")}
        if name is not _INHERITED:
            body["name"] = "" if name is None else sandboxes.check_name(name)
        return handle.made(await handle.request("sandbox.restore", body))


class SandboxSnapshot(handles.Object):
    """The memory and the files of a sandbox at one moment, kept for seven days: ``Sandbox._experimental_snapshot``."""

    _prefix = "sn"
    _info: messages.MemoryInfo

    @staticmethod
    @faces.function
    async def from_id(sandbox_snapshot_id: str, client: object = None) -> SandboxSnapshot:
        """The snapshot of that id.

        Raises:
            NotFoundError: there never was one, or its time is over.
        """
        from windlass.kit import ids

        if not isinstance(sandbox_snapshot_id, str) or not ids.is_id(sandbox_snapshot_id, "sn"):
            raise exception.NotFoundError(f"{sandbox_snapshot_id!r} is no id of a snapshot")
        return SandboxSnapshot._of(await handle.request("sandbox.memory_get", {"snapshot_id": sandbox_snapshot_id}))

    @staticmethod
    def _of(info: messages.MemoryInfo) -> SandboxSnapshot:
        made = SandboxSnapshot._new()
        made._hydrate(info["snapshot_id"], {"info": info})
        return made

    def _describe(self) -> str:
        return "SandboxSnapshot"

    def _metadata(self) -> dict[str, Any]:
        return {"info": self._info}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._info = metadata["info"]

    async def _load(self, context: resolver.Context) -> None:
        raise exception.ExecutionError("a snapshot exists as soon as there is a handle of it")
