"""The folders that a container's root is stacked from.

A mount's tree is plain: folders and files, nothing else. Stacked as it is, its folder ``lib`` would hide an image's
link ``lib -> usr/lib`` with everything behind it, and its folder ``tmp`` would close the image's to other users. Such
a tree is *fitted* to the image once: the same files (hard links), with folders resolved and dressed as in the image.
"""
from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker.images import cache

_OPAQUE = "user.overlay.opaque"
_LINKS = 40  # that may follow each other
_PLAIN = 0o755


def lowers(home: Path, image_id: str, mounts: Iterable[Path] = ()) -> list[Path]:
    """Lower folders, bottom first: the image's layers, then the trees of the mounts in their order.

    Raises ``NotFoundError`` where the image is not on this machine.
    """
    layers = cache.Layers(home)
    files = [layers.files(layer) for layer in layers.read(image_id)["layers"]]
    return [*files, *(_fitting(files, image_id, tree) for tree in mounts)]


def find(layers: Sequence[Path], inside: Path) -> Path | None:
    """Where ``inside`` lies, links followed as in the container; None where the stack has no such thing."""
    entry = _look(layers, _resolve(layers, inside))
    return entry.path if entry is not None else None


class _Entry(NamedTuple):
    """What a path is in a stack of layers."""

    state: os.stat_result
    path: Path


def _fitting(layers: Sequence[Path], image_id: str, tree: Path) -> Path:
    fitted = tree.with_name(f"{tree.name}.{image_id}")
    if fitted.exists():
        return fitted
    folders = list(_shared(layers, tree))
    if all(stat.S_ISDIR(entry.state.st_mode) and _is_plain(entry.state) for _, entry in folders):
        return tree
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=tree.parent))
    try:
        _dress(draft, tree.stat())
        _fit(layers, tree, draft)
        draft.rename(fitted)
    except OSError:
        if not fitted.exists():  # another start was quicker
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return fitted


def _shared(layers: Sequence[Path], tree: Path) -> Iterator[tuple[Path, _Entry]]:
    """Folders of ``tree`` that are something in the image, with what they are there."""
    waiting = [Path()]
    while waiting:
        inside = waiting.pop()
        with os.scandir(tree / inside) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for name in names:
            if (entry := _look(layers, inside / name)) is not None:
                yield inside / name, entry
                if stat.S_ISDIR(entry.state.st_mode):
                    waiting.append(inside / name)


def _is_plain(state: os.stat_result) -> bool:
    """Whether a root-owned 0755 folder in its place takes nothing away from anybody but secrecy."""
    return state.st_uid == cache.CONTAINER_ROOT and not stat.S_IMODE(state.st_mode) & ~_PLAIN


def _fit(layers: Sequence[Path], tree: Path, draft: Path) -> None:
    for folder, names, files in os.walk(tree):
        inside = Path(folder).relative_to(tree)
        resolved = _resolve(layers, inside)
        place = _make(layers, draft, resolved)
        for name in files:
            target = place / name
            target.unlink(missing_ok=True)
            os.link(Path(folder) / name, target, follow_symlinks=False)
        names.sort()


def _make(layers: Sequence[Path], draft: Path, inside: Path) -> Path:
    """The folder ``inside`` the new tree, its parents included, each dressed as in the image."""
    place, walked = draft, Path()
    for part in inside.parts:
        place, walked = place / part, walked / part
        if not place.exists():
            place.mkdir()
            entry = _look(layers, walked)
            _dress(place, entry.state if entry is not None and stat.S_ISDIR(entry.state.st_mode) else draft.stat())
    return place


def _dress(folder: Path, like: os.stat_result) -> None:
    os.chown(folder, like.st_uid, like.st_gid)
    folder.chmod(stat.S_IMODE(like.st_mode))


def _resolve(layers: Sequence[Path], inside: Path) -> Path:
    """``inside`` with the image's links followed, as the container would."""
    walked, rest, followed = Path(), list(inside.parts), 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            walked = walked.parent
            continue
        entry = _look(layers, walked / part)
        if entry is None or not stat.S_ISLNK(entry.state.st_mode):
            walked = walked / part
            continue
        followed += 1
        if followed > _LINKS:
            raise exception.InvalidError(f"the image's links at /{inside} lead nowhere")
        goal = entry.path.readlink()
        if goal.is_absolute():
            walked, goal = Path(), goal.relative_to("/")
        rest = [*(piece for piece in goal.parts if piece != "."), *rest]
    return walked


def _look(layers: Sequence[Path], inside: Path) -> _Entry | None:
    """What ``inside`` is in the stack, links not followed; None where it is nothing."""
    seen, found = list(reversed(layers)), None
    for part in inside.parts:
        candidates, seen, found = seen, [], None
        for folder in candidates:
            path = folder / part
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISCHR(state.st_mode) and state.st_rdev == 0:
                break  # removed by this layer
            found = found or _Entry(state, path)
            if not stat.S_ISDIR(state.st_mode):
                break
            seen.append(path)
            if _is_opaque(path):
                break
    return found


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False
