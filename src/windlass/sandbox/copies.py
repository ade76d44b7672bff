"""Its files as images, images in its files, and other sandboxes from it."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from windlass.image import Image
    from windlass.sandbox import Sandbox



class Copies(handle.Handle):
    """The members of ``Sandbox`` about snapshots of its files, forks, and mounted images."""

    @faces.method
    async def snapshot_filesystem(self, timeout: int = 55, *, ttl: int | None = 30 * 86400) -> Image:
        """Its files as an image, with what has changed since it began.

        Args:
            timeout: seconds that it may take.
            ttl: seconds that it is kept; None: for ever.

        Raises:
            TimeoutError: it took longer.
            ConflictError: the sandbox has ended.

        Example:
            >>> image = sandbox.snapshot_filesystem()
            >>> another = windlass.Sandbox.create(app=app, image=image)
        """
        return await self._snapshot("", timeout, ttl)

    @faces.method
    async def snapshot_directory(self, path: str, *, timeout: int = 55, ttl: int | None = 30 * 86400) -> Image:
        """One folder as an image.

        Args:
            path: of the folder.
            timeout: seconds that it may take.
            ttl: seconds that it is kept; None: for ever.

        Raises:
            InvalidError: the path is not absolute.
            SandboxFilesystemNotFoundError: there is no such folder.
            TimeoutError: it took longer.
        """
        from windlass.client import sandboxes

        return await self._snapshot(sandboxes.path(path), timeout, ttl)

    @faces.method
    async def fork(self, n: int = 1, *, timeout: int = 55) -> Sequence[Sandbox]:
        """New sandboxes of the same app that begin with this one's files as they are now, and go their own ways.

        They are made as this one was: the same command (which starts anew: processes and memory are not forked),
        variables, limits, volumes and tags, but no name. What was changed is copied once for all of them, and what was
        not is shared. This one goes on. For other arguments, use ``snapshot_filesystem`` and ``create``.

        Args:
            n: how many, up to 100.
            timeout: seconds that the copy may take.

        Raises:
            InvalidError: an argument is wrong.
            ConflictError: the sandbox has ended.
            TimeoutError: the copy took longer.
            ResourceExhaustedError: the app has as many sandboxes as it may have.

        Example:
            >>> sandbox.exec("git", "clone", "https://example.com/project.git").wait()
            0
            >>> tries = sandbox.fork(10)
            >>> [one.exec("python", "attempt.py", str(number)) for number, one in enumerate(tries)]
        """
        from windlass.kit import ids

        if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= 100:
            raise exception.InvalidError(f"n must be between 1 and 100, not {n!r}")
        time, wanted = handle.seconds("timeout", timeout), [ids.new("sb") for _ in range(n)]
        body = {"sandbox_id": self._usable(), "fork_ids": wanted, "seconds": time}
        return [handle.made(info) for info in (await handle.request("sandbox.fork", body))["sandboxes"]]

    async def _snapshot(self, path: str, timeout: float, ttl: float | None) -> Image:
        from windlass import image

        time = handle.seconds("timeout", timeout)
        body: dict[str, Any] = {"sandbox_id": self._usable(), "path": path, "seconds": time}
        if ttl is not None:
            body["ttl"] = handle.seconds("ttl", ttl)
        made = await handle.request("sandbox.snapshot", body)
        found = image.Image.from_id(made["image_id"])
        found._hydrate(made["image_id"], {"python": made["python"], "mounts": made["mounts"]})
        return found

    @faces.method
    async def mount_image(self, path: str, image: Image) -> None:
        """Show an image at a folder, and hide what is there until ``unmount_image``. It can be written to.

        Args:
            path: of the folder, which is made where it is missing; not the root.
            image: one that is built, such as a snapshot.

        Raises:
            InvalidError: the path is not allowed, or the image is not built or has files that are attached at a start.
            NotFoundError: there is no such image, or the time of the snapshot is over.
            ConflictError: an image is mounted there already, or the sandbox has ended.

        Example:
            >>> tools = sandbox.snapshot_directory("/opt/tools")
            >>> another.mount_image("/opt/tools", tools)
        """
        from windlass import image as images
        from windlass.client import sandboxes

        if not isinstance(image, images.Image):
            raise exception.InvalidError(f"image must be an Image, not {type(image).__name__}")
        if not image._lazy and not image.is_hydrated:
            raise exception.InvalidError("the image is not built yet", hint="Call image.build() first.")
        identity = await image._ready()
        if image._mounts or image._mount_digests:
            raise exception.InvalidError(
                "the image has local files that are attached when a container starts", hint="Add them with copy=True."
            )
        body = {"sandbox_id": self._usable(), "path": sandboxes.path(path), "image_id": identity}
        await handle.request("sandbox.mount", body)

    @faces.method
    async def unmount_image(self, path: str) -> None:
        """The reverse of ``mount_image``. Programs that use its files keep them.

        Raises:
            NotFoundError: no image is mounted there.
        """
        from windlass.client import sandboxes

        await handle.request("sandbox.unmount", {"sandbox_id": self._usable(), "path": sandboxes.path(path)})
