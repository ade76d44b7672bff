"""Local files in images: as steps, or attached when a container starts."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.file_pattern_matcher import NON_PYTHON_FILES, as_ignore
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import NoReturn

    from typing_extensions import Self


class Files(chain.Chain):
    """The methods of ``Image`` that add local files."""

    def add_local_file(
        self, local_path: str | os.PathLike[str], remote_path: str | os.PathLike[str], *, copy: bool = False
    ) -> Self:
        """Add one local file.

        Args:
            local_path: the file here.
            remote_path: its place, absolute; with a trailing slash the folder that it goes into.
            copy: make it a step of the image, so that later steps see it; otherwise it is attached when a container
                starts, which needs no build when it changes.

        Raises:
            InvalidError: ``remote_path`` is not absolute.
        """
        from pathlib import Path

        from windlass.client import mount as mounts

        local = Path(local_path).expanduser().absolute()
        remote = recipes.remote_file(local.name, remote_path)
        return self._add(mounts.Mount(mounts.File(local, remote)), copy)

    def add_local_dir(
        self,
        local_path: str | os.PathLike[str],
        remote_path: str | os.PathLike[str],
        *,
        copy: bool = False,
        ignore: Sequence[str] | Callable[[Path], bool] = [],  # noqa: B006 - never changed
    ) -> Self:
        """Add what a local folder holds.

        Args:
            local_path: the folder here.
            remote_path: its place, absolute.
            copy: as for ``add_local_file``.
            ignore: what to leave out: patterns as in a ``.dockerignore`` file, or a callable that is given paths
                relative to the folder and returns True for those.

        Raises:
            InvalidError: ``remote_path`` is not absolute.
        """
        from pathlib import Path

        from windlass.client import mount as mounts

        local = Path(local_path).expanduser().absolute()
        tree = mounts.Tree(local, recipes.remote_folder(remote_path), ignore=as_ignore(ignore))
        return self._add(mounts.Mount(tree), copy)

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: Sequence[str] | Callable[[Path], bool] = NON_PYTHON_FILES
    ) -> Self:
        """Add local Python packages and modules, found as ``import`` finds them, so that containers can import them.

        Args:
            modules: names of packages or modules.
            copy: as for ``add_local_file``.
            ignore: as for ``add_local_dir``; by default everything but ``.py`` files.
        """
        for name in modules:
            if not isinstance(name, str) or not name:
                raise exception.InvalidError(f"add_local_python_source() takes names of modules, not {name!r}")
        if not modules:
            return self
        from windlass.client import mount as mounts

        leave_out = as_ignore(ignore)
        return self._add(mounts.Mount(*(mounts.Module(name, ignore=leave_out) for name in modules)), copy)

    # -- removed --------------------------------------------------------------------------------------

    def copy(self, *args: object, **kwargs: object) -> NoReturn:
        """Removed: use ``add_local_file``, ``add_local_dir`` or ``add_local_python_source``."""
        raise exception.DeprecationError(
            "Image.copy was removed; use Image.add_local_file, add_local_dir or add_local_python_source"
        )

    def copy_local_file(self, *args: object, **kwargs: object) -> Self:
        """Removed: use ``add_local_file``."""
        raise exception.DeprecationError("Image.copy_local_file was removed; use Image.add_local_file(..., copy=True)")

    def copy_local_dir(self, *args: object, **kwargs: object) -> Self:
        """Removed: use ``add_local_dir``."""
        raise exception.DeprecationError("Image.copy_local_dir was removed; use Image.add_local_dir(..., copy=True)")

    def copy_mount(self, *args: object, **kwargs: object) -> Self:
        """Removed: use ``add_local_file``, ``add_local_dir`` or ``add_local_python_source``."""
        raise exception.DeprecationError(
            "Image.copy_mount was removed; use Image.add_local_file, add_local_dir or add_local_python_source"
        )
