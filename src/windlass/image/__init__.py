"""``Image``: what the file system and environment of containers look like.

An image is an immutable chain of steps. Nothing happens when it is described; when an app that uses it runs, the
client uploads the local files it needs, and the server builds the steps that it does not know yet.

One module per verb: ``bases`` begin a chain, ``packages`` and ``commands`` add steps, ``files`` bring local files,
``named`` finds what exists, ``chain`` is what they share.
"""
from __future__ import annotations

from windlass.image import bases, commands, files, named, packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Concatenate, ParamSpec, TypeVar

    from typing_extensions import Self

    P = ParamSpec("P")
    R = TypeVar("R")


class _Imports:
    """The block of ``Image.imports()``: keeps an exception for later instead of raising it."""

    def __init__(self, deferred: list[BaseException]) -> None:
        self._deferred = deferred

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        if not isinstance(exc, Exception):
            return False
        self._deferred.append(exc)
        if not isinstance(exc, ImportError):
            import warnings

            warnings.warn(f"an imports() block failed with {type(exc).__name__}: {exc}", stacklevel=2)
        return True


class Image(bases.Bases, packages.Packages, commands.Commands, files.Files, named.Named):
    """The file system and environment of containers, as a chain of steps. Each method returns a new image.

    Example:
        >>> image = (
        ...     windlass.Image.debian_slim("3.11")
        ...     .apt_install("git")
        ...     .pip_install("numpy", "pandas")
        ...     .env({"MODE": "fast"})
        ...     .add_local_dir("data", "/data")
        ... )
    """

    def imports(self) -> _Imports:
        """A block for imports of packages that only this image has.

        Where they are missing (on the machine that runs the program, in containers of other images) the block is
        left at its first failure; in a container of this image the failure is raised.

        Example:
            >>> with image.imports():
            ...     import torch
        """
        return _Imports(self._deferred)

    def pipe(self, func: Callable[Concatenate[Self, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``func(image, *args, **kwargs)``, so that own functions fit into a chain."""
        return func(self, *args, **kwargs)
