"""``NetworkFileSystem``: a folder that containers share while they run. Deprecated: use ``Volume``."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces, names
from windlass.client import object as handles
from windlass.kit import slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Any, BinaryIO

    from windlass.client import resolver
    from windlass.volume import FileEntry
    from windlass.wire.messages import nfs as messages


class NetworkFileSystem(handles.Object):
    """A folder that containers share: what one writes, all others see at once. It outlives them.

    It still works, and using it warns with ``DeprecationError``: a ``Volume`` keeps versions, and what a container
    sees in it does not change under its feet.

    Example:
        >>> shared = windlass.NetworkFileSystem.from_name("scratch", create_if_missing=True)
        >>> @app.function(network_file_systems={"/scratch": shared})
        ... def note(text: str):
        ...     Path("/scratch/note").write_text(text)
    """

    _prefix = "sv"
    _name: str | None = None
    _query: messages.NfsGet | None = None

    # -- which one ---------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        name: str,
        *,
        namespace: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: object = None,
    ) -> NetworkFileSystem:
        """The one of that name, looked up when it is first needed.

        Args:
            name: letters, digits, dashes, underscores and dots, at most 64.
            namespace: accepted for compatibility.
            environment_name: the environment that holds it.
            create_if_missing: make it then where there is none.
            client: accepted for compatibility.

        Raises:
            InvalidError: the name is not allowed.
        """
        _warn()
        return _named(name, environment_name, create_if_missing)

    @staticmethod
    def from_id(network_file_system_id: str, client: object = None) -> NetworkFileSystem:
        """The one of that id, looked up when it is first needed."""
        from windlass.kit import ids

        _warn()
        if not isinstance(network_file_system_id, str) or not ids.is_id(network_file_system_id, "sv"):
            raise exception.InvalidError(f"{network_file_system_id!r} is no id of a network file system")
        made = NetworkFileSystem._new()
        made._lazy, made._query = True, {"volume_id": network_file_system_id}
        return made

    @faces.context_function
    def ephemeral(
        client: object = None, environment_name: str | None = None
    ) -> AbstractAsyncContextManager[NetworkFileSystem]:
        """One without a name that is deleted when the block is left.

        Example:
            >>> with windlass.NetworkFileSystem.ephemeral() as shared:
            ...     shared.listdir("/")
            []
        """
        from windlass.client import volumes

        _warn(beyond=1)
        return volumes.ephemeral(NetworkFileSystem, {"ephemeral": True, **_asked(environment_name)})

    @staticmethod
    @faces.function
    async def delete(name: str, client: object = None, environment_name: str | None = None) -> None:
        """Delete one with all its files, also where running containers have it mounted.

        Raises:
            NotFoundError: there is none of that name.
        """
        identity = await _named(name, environment_name, False)._ready()
        await _request("nfs.delete", {"volume_id": identity})

    @staticmethod
    @faces.function
    async def lookup(
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> NetworkFileSystem:
        """Older word for ``from_name``, which looks at once."""
        _warn()
        found = _named(name, environment_name, create_if_missing)
        await found._ready()
        return found

    @staticmethod
    @faces.function
    async def create_deployed(
        deployment_name: str, namespace: object = None, client: object = None, environment_name: str | None = None
    ) -> str:
        """Older word for ``from_name(…, create_if_missing=True)``. Returns the id."""
        _warn()
        return await _named(deployment_name, environment_name, True)._ready()

    @property
    def name(self) -> str | None:
        """Its name; None for one without, or before it is known."""
        return self._name

    # -- files, from anywhere ----------------------------------------------------------------------------

    @faces.method
    async def write_file(
        self,
        remote_path: str | os.PathLike[str],
        fp: BinaryIO,
        progress_cb: Callable[..., Any] | None = None,
    ) -> int:
        """Write a file object's bytes to a file, and return how many there were. Others see the old file or the
        new one, never a part.

        Args:
            remote_path: of the file, from the root; folders on the way are made. One that ends with a slash keeps the
                name of the local file.
            fp: open for reading bytes.
            progress_cb: called with ``reset=True, total=…`` first, then with ``advance=…``.

        Raises:
            FileExistsError: a folder is in the way.
        """
        import os

        name = os.fspath(slashes.forward(remote_path))
        if name.endswith("/") and isinstance(getattr(fp, "name", None), str):
            name += _own_name(fp.name)
        return await self._put(progress_cb, lambda batch: batch.put_file(fp, name))

    @faces.method
    async def add_local_file(
        self,
        local_path: str | os.PathLike[str],
        remote_path: str | os.PathLike[str] | None = None,
        progress_cb: Callable[..., Any] | None = None,
    ) -> int:
        """Upload a file; see ``write_file``. By default it keeps its name, in the root.

        Raises:
            FileNotFoundError: there is no such local file.
        """
        import os

        name = "/" if remote_path is None else os.fspath(slashes.forward(remote_path))
        if name.endswith("/"):
            name += _own_name(local_path)
        return await self._put(progress_cb, lambda batch: batch.put_file(local_path, name))

    @faces.method
    async def add_local_dir(
        self,
        local_path: str | os.PathLike[str],
        remote_path: str | os.PathLike[str] | None = None,
        progress_cb: Callable[..., Any] | None = None,
    ) -> None:
        """Upload the files in a folder and below it. By default it keeps its name, in the root.

        Raises:
            FileNotFoundError: there is no such local folder.
        """
        name = f"/{_own_name(local_path)}" if remote_path is None else remote_path
        await self._put(progress_cb, lambda batch: batch.put_directory(local_path, name))

    async def _put(self, progress_cb: Callable[..., Any] | None, fill: Callable[[Any], None]) -> int:
        from windlass.client import uploads

        progress = _Progress(progress_cb)
        batch = uploads.Upload(True, progress.told)
        fill(batch)
        sent = await batch.send(await self._ready())
        progress.end(sent)
        return sent

    @faces.stream
    async def read_file(self, path: str) -> AsyncGenerator[Callable[[], bytes], None]:
        """The bytes of a file, piece by piece.

        Raises:
            FileNotFoundError: there is no such file.
        """
        from windlass.client import downloads

        async for piece in downloads.pieces(await self._ready(), path):
            yield lambda piece=piece: piece  # type: ignore[misc]

    @faces.stream
    async def iterdir(self, path: str) -> AsyncGenerator[Callable[[], FileEntry], None]:
        """What lies in a folder; a file's path lists the file itself, and a glob whatever it matches.

        Args:
            path: of the folder, from the root. ``*`` stands for anything in a name, ``**`` for any folders.

        Raises:
            FileNotFoundError: there is no such path.
        """
        for entry in await self._entries(path):
            yield lambda entry=entry: entry  # type: ignore[misc]

    @faces.method
    async def listdir(self, path: str) -> list[FileEntry]:
        """What lies in a folder, as a list. See ``iterdir``."""
        return await self._entries(path)

    async def _entries(self, path: str) -> list[FileEntry]:
        from windlass import volume
        from windlass.client import downloads

        found = downloads.matching(await self._ready(), volume._text(path))
        return [volume._entry(*entry) async for entry in found]

    @faces.method
    async def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or with ``recursive`` a folder.

        Raises:
            FileNotFoundError: there is no such path.
        """
        from windlass import volume
        from windlass.client import volumes

        step: Any = {"op": "remove", "path": volume._text(path), "recursive": recursive}
        await volumes.edit(await self._ready(), [step])

    # -- life cycle --------------------------------------------------------------------------------------

    def _describe(self) -> str:
        return f"NetworkFileSystem {self._name!r}" if self._name else "NetworkFileSystem"

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata["name"]

    async def _load(self, context: resolver.Context) -> None:
        from windlass import volume

        assert self._query is not None
        query: messages.NfsGet = {**self._query}
        if "name" in query and "environment" not in query:
            environment = context.environment or volume._own_environment()
            if environment:
                query["environment"] = environment
        found: messages.NfsInfo = (await context.session.request("nfs.get", query)).body
        self._object_id, self._name = found["volume_id"], found["name"] or None


class _Progress:
    """Tells a callback of the public methods what an upload says. ``callback`` None: nobody."""

    def __init__(self, callback: Callable[..., Any] | None) -> None:
        self._callback = callback
        self._done: dict[str, int] = {}

    def told(self, name: str, done: int, total: int) -> None:
        if self._callback is None:
            return
        if not self._done:
            self._callback(reset=True, total=total)
        self._callback(advance=done - self._done.get(name, 0))
        self._done[name] = done

    def end(self, total: int) -> None:
        """Everything is there; small files were not spoken of."""
        if self._callback is None:
            return
        if not self._done:
            self._callback(reset=True, total=total)
        self._callback(advance=total - sum(self._done.values()))


def _own_name(local_path: str | os.PathLike[str]) -> str:
    from pathlib import Path

    return Path(local_path).absolute().name


def _named(name: str, environment_name: str | None, create_if_missing: bool) -> NetworkFileSystem:
    names.check_object(name, "a network file system's name")
    made = NetworkFileSystem._new()
    made._name, made._lazy = name, True
    more = {"create": "missing"} if create_if_missing else {}
    query: Any = {"name": name, **_asked(environment_name), **more}
    made._query = query
    return made


def _asked(environment_name: str | None) -> dict[str, str]:
    environment = names.environment(environment_name)
    return {"environment": environment} if environment else {}


async def _request(method: str, body: Any) -> Any:
    from windlass.client import session

    return (await session.current().request(method, body)).body


def _warn(*, beyond: int = 0) -> None:
    """``beyond``: frames of ours between the method and the program that is warned."""
    import warnings

    text = "NetworkFileSystem is deprecated: it still works, but use a Volume instead"
    warnings.warn(text, exception.DeprecationError, stacklevel=3 + beyond)
