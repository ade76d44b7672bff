"""The local files that COPY and ADD bring: what the sources name within the context, but for what is ignored.

Links within a copied folder stay links and empty folders stay. A source that is itself a link is followed, as long as
it stays within the context.
"""
from __future__ import annotations

import os
import posixpath
from pathlib import Path

from windlass import exception
from windlass.client import mount as mounts
from windlass.kit import wildcard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from windlass.client.dockerfile import lines


class Context:
    """A folder that sources are relative to.

    Args:
        folder: the folder, absolute.
        ignore: says of paths relative to it which are left out.
        named: further local files, by their paths within the context; never left out.
    """

    def __init__(self, folder: Path, *, ignore: Callable[[Path], bool], named: Mapping[str, Path]) -> None:
        self.folder = folder
        self.ignore = ignore
        self.prune = getattr(ignore, "can_prune_directories", bool)()
        self.named = {posixpath.normpath(f"/{name}").lstrip("/"): path for name, path in named.items()}

    def pick(self, sources: Sequence[str], line: lines.Line) -> Picked:
        """What ``sources`` name.

        Raises ``ImageBuildError`` for what does not exist, ``InvalidError`` for what lies outside of the context.
        """
        picked = Picked(self.folder)
        for source in sources:
            for path in self._matches(source, line):
                if path in self.named:
                    picked.add(path, self.named[path])
                else:
                    self._gather(path, picked, line)
        return picked

    def _matches(self, source: str, line: lines.Line) -> list[str]:
        path = _inside(source, line)
        try:
            found = wildcard.expand(path, self._names)
        except ValueError as exc:
            raise line.fault(str(exc)) from None
        if not found:
            raise line.fault(f"no file matches {source!r} in the context {str(self.folder)!r}")
        return [match or "." for match in found]

    def _names(self, folder: str) -> list[str]:
        """What a pattern may match: all that is not ignored, and folders below which something may be taken back."""
        named = [posixpath.basename(path) for path in self.named if posixpath.dirname(path) == folder]
        try:
            with os.scandir(self.folder / folder) as entries:
                found = [entry.name for entry in entries if entry.is_dir() or not self.ignore(Path(folder, entry.name))]
        except (FileNotFoundError, NotADirectoryError):
            return named
        if self.prune:
            found = [name for name in found if not self.ignore(Path(folder, name))]
        return [*{*found, *named}]

    def _gather(self, path: str, picked: Picked, line: lines.Line) -> None:
        real = self._real(path, line)
        if not real.exists():
            raise line.fault(f"{path!r} does not exist in the context {str(self.folder)!r}")
        if not real.is_dir():
            if self.ignore(Path(path)):
                raise line.fault(f"{path!r} is left out of the context", hint="See .dockerignore, or ignore=….")
            picked.add(path, real)
            return
        picked.sources.append(path)
        ignored = path != "." and self.ignore(Path(path))
        if path != "." and not ignored:
            picked.empty.append(path)
        before = len(picked.local)
        self._walk(real, "" if path == "." else path, picked)
        if ignored and len(picked.local) == before:
            raise line.fault(f"{path!r} is left out of the context", hint="See .dockerignore, or ignore=….")

    def _real(self, path: str, line: lines.Line) -> Path:
        real, root = os.path.realpath(self.folder / path), os.path.realpath(self.folder)
        if os.path.commonpath([real, root]) != root:
            raise line.fault(
                f"{path!r} leads to {real!r}, outside the context {str(self.folder)!r}", kind=exception.InvalidError,
                hint="Copy what is needed into the context, or choose another context_dir.",
            )  # fmt: skip
        return Path(real)

    def _walk(self, folder: Path, inside: str, picked: Picked) -> None:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            path = f"{inside}/{entry.name}" if inside else entry.name
            ignored = self.ignore(Path(path))
            if entry.is_dir(follow_symlinks=False):
                if ignored and self.prune:
                    continue
                if not ignored:
                    picked.empty.append(path)
                self._walk(folder / entry.name, path, picked)
            elif ignored:
                continue
            elif entry.is_symlink():
                picked.lead[path] = str(Path(entry.path).readlink())
            elif entry.is_file():
                picked.local[path] = Path(entry.path)


class Picked(mounts.Source):
    """``sources``: what was named, as paths of the tree that this becomes."""

    def __init__(self, folder: Path) -> None:
        self.sources: list[str] = []
        self.local: dict[str, Path] = {}
        self.lead: dict[str, str] = {}
        self.empty: list[str] = []
        self._folder = folder

    def add(self, path: str, local: Path) -> None:
        """A single file."""
        if not local.is_file():
            raise FileNotFoundError(f"local file {str(local)!r} does not exist")
        self.sources.append(path)
        self.local[path] = local

    def files(self) -> Iterator[tuple[Path, str]]:
        for path, local in self.local.items():
            yield local, path

    def links(self) -> Iterator[tuple[str, str]]:
        yield from self.lead.items()

    def folders(self) -> Iterator[str]:
        yield from self.empty

    def watched(self) -> Path:
        return self._folder


def _inside(source: str, line: lines.Line) -> str:
    """A source as a relative path without detours."""
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise line.fault(
            f"{source!r} lies outside the context", kind=exception.InvalidError,
            hint="Sources are relative to the context; choose another one with context_dir.",
        )  # fmt: skip
    return "" if path == "." else path
