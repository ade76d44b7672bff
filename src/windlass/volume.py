"""``Volume``: a folder that containers share, and that stays when they are gone."""
from __future__ import annotations

import enum

from windlass import exception
from windlass.client import faces, here, names
from windlass.client import object as handles
from windlass.kit import slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any, BinaryIO

    from windlass.client import resolver
    from windlass.client import uploads as work
    from windlass.wire.messages import volumes as messages

_KINDS = (None, 1, 2)


class FileEntryType(enum.IntEnum):
    """What an entry of a folder is."""

    UNSPECIFIED = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5


class FileEntry:
    """A file, folder or link in a volume. ``mtime`` in seconds since 1970, ``size`` in bytes."""

    __slots__ = ("mtime", "path", "size", "type")

    def __init__(self, path: str, type: FileEntryType, mtime: int, size: int) -> None:
        self.path = path
        self.type = type
        self.mtime = mtime
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileEntry) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def _all(self) -> tuple[object, ...]:
        return self.path, self.type, self.mtime, self.size

    def __repr__(self) -> str:
        return f"FileEntry(path={self.path!r}, type={self.type!r}, mtime={self.mtime}, size={self.size})"


class Volume(handles.Object):
    """A folder that is shared by containers and outlives them.

    A container sees what was committed when it started, or when it last called ``reload``, and what it writes itself.
    What it writes is committed by ``commit``, every few seconds in the background, and when it ends. Of one file, the
    last commit counts.

    Example:
        >>> vol = windlass.Volume.from_name("models", create_if_missing=True)
        >>> @app.function(volumes={"/models": vol})
        ... def train():
        ...     Path("/models/weights").write_bytes(b"...")
        ...     vol.commit()
    """

    _prefix = "vo"
    _name: str | None = None
    _query: messages.VolumeGet | None = None
    _base: Volume | None = None
    _sub_path: str | None = None
    _read_only: bool | None = None
    _refuses_writes = False

    # -- which volume ------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        name: str,
        *,
        namespace: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
        create_options: object = None,
        client: object = None,
    ) -> Volume:
        """The volume of that name, looked up when it is first needed.

        Args:
            name: letters, digits, dashes, underscores and dots, at most 64.
            namespace: accepted for compatibility.
            environment_name: the environment that holds it.
            create_if_missing: make it then where there is none.
            version: 1 or 2; an existing volume must have it. Both behave alike here.
            create_options: accepted for compatibility.
            client: accepted for compatibility.

        Raises:
            InvalidError: the name or the version is not allowed.
        """
        names.check_object(name, "a volume's name")
        made = Volume._new()
        made._name, made._lazy = name, True
        query = {"name": name, **_asked(environment_name, version)}
        made._query = {**query, "create": "missing"} if create_if_missing else query  # type: ignore[assignment]
        return made

    @staticmethod
    def from_id(volume_id: str, client: object = None) -> Volume:
        """The volume of that id, looked up when it is first needed."""
        from windlass.kit import ids

        if not isinstance(volume_id, str) or not ids.is_id(volume_id, Volume._prefix):
            raise exception.InvalidError(f"{volume_id!r} is no id of a volume")
        made = Volume._new()
        made._lazy, made._query = True, {"volume_id": volume_id}
        return made

    @faces.context_function
    def ephemeral(
        client: object = None,
        environment_name: str | None = None,
        version: int | None = None,
        create_options: object = None,
    ) -> AbstractAsyncContextManager[Volume]:
        """A volume without a name that is deleted when the block is left.

        Example:
            >>> with windlass.Volume.ephemeral() as vol:
            ...     vol.listdir("/")
            []
        """
        from windlass.client import volumes

        return volumes.ephemeral(Volume, {"ephemeral": True, **_asked(environment_name, version)})

    @property
    def name(self) -> str | None:
        """Its name; None for one without, or before it is known."""
        return self._name if self._base is None else self._base.name

    def with_mount_options(
        self, *, read_only: bool | None = None, sub_path: str | os.PathLike[str] | None = None
    ) -> Volume:
        """The same volume, to be mounted otherwise. What is None stays as it was.

        Args:
            read_only: nothing can be written below the mount.
            sub_path: show only this folder of the volume, made if it is not there; "/" is all of it.

        Raises:
            InvalidError: ``read_only()`` was called on it, or the path leads out of the volume.
        """
        if self._refuses_writes:
            raise exception.InvalidError("read_only() and with_mount_options() cannot be combined")
        made = self._derived()
        if read_only is not None:
            made._read_only = bool(read_only)
        if sub_path is not None:
            from windlass.client import volumes

            made._sub_path = volumes.inside(sub_path)
        return made

    def read_only(self) -> Volume:
        """The same volume for mounts and programs that only read. Its methods that write raise ``InvalidError``."""
        if self._base is not None and not self._refuses_writes:
            raise exception.InvalidError("read_only() and with_mount_options() cannot be combined")
        made = self._derived()
        made._read_only = made._refuses_writes = True
        return made

    def _derived(self) -> Volume:
        made = Volume._new()
        made._base = self._base or self
        made._lazy, made._object_id, made._name = made._base._lazy, made._base._object_id, made._base._name
        made._read_only, made._sub_path = self._read_only, self._sub_path
        return made

    @staticmethod
    @faces.function
    async def rename(
        old_name: str, new_name: str, *, client: object = None, environment_name: str | None = None
    ) -> None:
        """Give a volume another name. Its id stays, so whatever uses it goes on.

        Raises:
            NotFoundError: there is none of the old name.
            AlreadyExistsError: there is one of the new name.
        """
        names.check_object(new_name, "a volume's name")
        volume = Volume.from_name(old_name, environment_name=environment_name)
        await _request("volume.rename", {"volume_id": await volume._ready(), "name": new_name})

    @staticmethod
    @faces.function
    async def delete(name: str, client: object = None, environment_name: str | None = None) -> None:
        """Delete a volume with all its versions. What mounts it keeps what it shows, but cannot commit any more.

        Raises:
            NotFoundError: there is none of that name.
        """
        volume = Volume.from_name(name, environment_name=environment_name)
        await _request("volume.delete", {"volume_id": await volume._ready()})

    @staticmethod
    @faces.function
    async def lookup(
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
    ) -> Volume:
        """Older word for ``from_name``, which looks at once."""
        volume = Volume.from_name(
            name, environment_name=environment_name, create_if_missing=create_if_missing, version=version
        )
        await volume._ready()
        return volume

    @staticmethod
    @faces.function
    async def create_deployed(
        deployment_name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        version: int | None = None,
    ) -> str:
        """Older word for ``objects.create``. Returns the id."""
        volume = Volume.from_name(
            deployment_name, environment_name=environment_name, create_if_missing=True, version=version
        )
        return await volume._ready()

    @faces.method
    async def info(self) -> Any:
        """Name, and when and by whom it was made (``windlass.types.VolumeInfo``)."""
        from windlass import types

        found: messages.VolumeInfo = await _request("volume.get", {"volume_id": await self._ready()})
        return types.VolumeInfo(found["name"] or None, _time(found["created_at"]), found["created_by"])

    # -- in containers -----------------------------------------------------------------------------------

    @faces.method
    async def commit(self) -> None:
        """Keep what this container has changed, so that others see it when they start or reload. Then, unless files
        are open here, see what others have committed.

        Raises:
            RuntimeError: this is no container that mounts the volume, or it was deleted.
        """
        await self._take(reload=False)

    @faces.method
    async def reload(self) -> None:
        """See what is committed now. What this container has changed is committed before.

        Raises:
            RuntimeError: a file of the volume is open, a working folder lies in it, or one is mapped into memory; the
                message names a path. Or this is no container that mounts the volume.
        """
        await self._take(reload=True)

    async def _take(self, *, reload: bool) -> None:
        what = "reload()" if reload else "commit()"
        if not here.in_container():
            raise RuntimeError(f"{what} works only in a container that mounts the volume")
        body: messages.VolumeCommit = {"volume_id": await self._ready(), "reload": reload}
        if self._refuses_writes and not reload:
            raise exception.InvalidError("the volume is read-only here")
        try:
            await _request("volume.commit", body)
        except (exception.ConflictError, exception.NotFoundError, exception.ExecutionError) as exc:
            raise RuntimeError(str(exc)) from None

    # -- files, from anywhere ----------------------------------------------------------------------------

    @faces.stream
    async def iterdir(self, path: str, *, recursive: bool = True) -> AsyncGenerator[Callable[[], FileEntry], None]:
        """What lies in a folder, and below it. A file's path lists the file itself.

        Args:
            path: of the folder, from the volume's root.
            recursive: also what lies in folders below.

        Raises:
            FileNotFoundError: there is no such path.
        """
        from windlass.client import downloads

        async for entry in downloads.entries(await self._ready(), path, recursive=recursive):
            yield lambda entry=entry: _entry(*entry)  # type: ignore[misc]

    @faces.method
    async def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """What lies in a folder, as a list. See ``iterdir``."""
        from windlass.client import downloads

        return [
            _entry(*entry) async for entry in downloads.entries(await self._ready(), path, recursive=recursive)
        ]  # fmt: skip

    @faces.stream
    async def read_file(self, path: str) -> AsyncGenerator[Callable[[], bytes], None]:
        """The bytes of a file, piece by piece.

        Raises:
            FileNotFoundError: there is no such file.
            DataLossError: it is damaged, and no longer what was committed.

        Example:
            >>> b"".join(vol.read_file("weights"))
            b'...'
        """
        from windlass.client import downloads

        async for piece in downloads.pieces(await self._ready(), path):
            yield lambda piece=piece: piece  # type: ignore[misc]

    @faces.method
    async def read_file_into_fileobj(
        self, path: str, fileobj: BinaryIO, progress_cb: Callable[..., Any] | None = None
    ) -> int:
        """Write the bytes of a file to a file object, and return how many there were.

        Args:
            path: of the file, from the volume's root.
            fileobj: open for writing bytes.
            progress_cb: called with ``reset=True, total=…`` first, then with ``advance=…`` for each piece.

        Raises:
            FileNotFoundError: there is no such file.
        """
        from windlass.client import downloads

        return await downloads.download(await self._ready(), path, fileobj, progress_cb)

    @faces.method
    async def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or with ``recursive`` a folder.

        Raises:
            FileNotFoundError: there is no such path.
        """
        self._check_writable("remove_file")
        await self._edit([{"op": "remove", "path": _text(path), "recursive": recursive}])

    @faces.method
    async def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        """Copy inside the volume, as ``cp`` does: to a new name, or into a folder that is there.

        Args:
            src_paths: what to copy.
            dst_path: a folder, or the name of the copy.
            recursive: also folders.

        Raises:
            FileNotFoundError: a source is missing.
        """
        self._check_writable("copy_files")
        if isinstance(src_paths, str) or not src_paths:
            raise exception.InvalidError("copy_files() takes a list of paths")
        step: messages.EditStep = {
            "op": "copy", "sources": [_text(path) for path in src_paths], "path": _text(dst_path),
            "recursive": recursive,
        }  # fmt: skip
        await self._edit([step])

    @faces.context
    def batch_upload(self, force: bool = False) -> AbstractAsyncContextManager[work.Upload]:
        """Upload files: all of them when the block is left, or none when it fails.

        Args:
            force: replace files that are there.

        Raises:
            FileExistsError: on leaving: a file is there already.
            FileNotFoundError: a local file is missing.

        Example:
            >>> with vol.batch_upload() as batch:
            ...     batch.put_file("weights.bin", "/models/weights.bin")
            ...     batch.put_directory("data", "/data")
            ...     batch.put_file(io.BytesIO(b"hello"), "/hello.txt")
        """
        from windlass.client import uploads

        self._check_writable("batch_upload")
        return uploads.upload(self, force)

    async def _edit(self, steps: list[messages.EditStep]) -> None:
        from windlass.client import volumes

        await volumes.edit(await self._ready(), steps)

    def _check_writable(self, what: str) -> None:
        if self._refuses_writes:
            raise exception.InvalidError(f"{what}() is not allowed: this is the read-only form of the volume")

    # -- life cycle --------------------------------------------------------------------------------------

    def _describe(self) -> str:
        return f"Volume {self.name!r}" if self.name else "Volume"

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self.name, "read_only": self._read_only, "sub_path": self._sub_path, "refuses": self._refuses_writes
        }  # fmt: skip

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata["name"]
        self._read_only, self._sub_path = metadata["read_only"], metadata["sub_path"]
        self._refuses_writes = metadata["refuses"]

    def _deps(self) -> Sequence[handles.Object]:
        return () if self._base is None else (self._base,)

    async def _load(self, context: resolver.Context) -> None:
        if self._base is not None:
            self._object_id, self._name = self._base.object_id, self._base._name
            return
        assert self._query is not None
        query: messages.VolumeGet = {**self._query}
        if "name" in query and "environment" not in query:
            environment = context.environment or _own_environment()
            if environment:
                query["environment"] = environment
        found: messages.VolumeInfo = (await context.session.request("volume.get", query)).body
        self._object_id, self._name = found["volume_id"], found["name"] or None

    class objects:
        """All volumes: made, listed, deleted."""

        @faces.function
        async def create(
            name: str,
            *,
            version: int | None = None,
            allow_existing: bool = False,
            environment_name: str | None = None,
            client: object = None,
        ) -> None:
            """Make a volume.

            Raises:
                AlreadyExistsError: there is one of that name, and ``allow_existing`` was not given.
            """
            names.check_object(name, "a volume's name")
            body: Any = {"name": name, **_asked(environment_name, version)}
            await _request("volume.get", {**body, "create": "missing" if allow_existing else "new"})

        @faces.function
        async def list(
            *,
            max_objects: int | None = None,
            created_before: Any = None,
            environment_name: str = "",
            client: object = None,
        ) -> Any:
            """Volumes of an environment, newest first."""
            if max_objects is not None and max_objects < 0:
                raise exception.InvalidError(f"max_objects must not be negative: {max_objects}")
            body: Any = _asked(environment_name, None)
            if max_objects is not None:
                body["most"] = max_objects
            if created_before is not None:
                from windlass.client import collection

                body["before"] = collection.seconds(created_before)
            found: messages.VolumeListReply = await _request("volume.list", body)
            return [_known(one) for one in found["volumes"]]

        @faces.function
        async def delete(
            name: str,
            *,
            allow_missing: bool = False,
            environment_name: str | None = None,
            client: object = None,
        ) -> None:
            """Delete a volume.

            Raises:
                NotFoundError: there is none of that name, and ``allow_missing`` was not given.
            """
            volume = Volume.from_name(name, environment_name=environment_name)
            try:
                await _request("volume.delete", {"volume_id": await volume._ready()})
            except exception.NotFoundError:
                if not allow_missing:
                    raise


async def _request(method: str, body: Any) -> Any:
    from windlass.client import session

    return (await session.current().request(method, body)).body


def _asked(environment_name: str | None, version: int | None) -> dict[str, Any]:
    if version not in _KINDS or isinstance(version, bool):
        raise exception.InvalidError(f"a volume's version is 1 or 2, not {version!r}")
    body: dict[str, Any] = {} if version is None else {"version": version}
    environment = names.environment(environment_name)
    if environment:
        body["environment"] = environment
    return body


def _own_environment() -> str:
    return here.plan["environment"] if here.plan is not None else ""


def _known(found: messages.VolumeInfo) -> Volume:
    volume = Volume._new()
    volume._object_id, volume._name = found["volume_id"], found["name"]
    return volume


def _entry(path: str, kind: str, mtime: int, size: int) -> FileEntry:
    kinds = {"f": FileEntryType.FILE, "d": FileEntryType.DIRECTORY, "l": FileEntryType.SYMLINK,
             "p": FileEntryType.FIFO, "s": FileEntryType.SOCKET}  # fmt: skip
    return FileEntry(path, kinds.get(kind, FileEntryType.UNSPECIFIED), mtime, size)


def _text(path: object) -> str:
    import os

    if not isinstance(path, (str, os.PathLike)):
        raise exception.InvalidError(f"a path must be a string, not {type(path).__name__}")
    return str(slashes.forward(path))


def _time(seconds: float) -> Any:
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
