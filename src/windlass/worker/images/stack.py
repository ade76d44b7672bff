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
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from windlass import exception
from windlass.worker.images import cache

_OPAQUE = "user.overlay.opaque"
_LINKS = 40  # that may follow each other
_PLAIN = 0o755
_READ = 16 * 1024 * 1024  # bytes of a file that are looked at


def lowers(home: Path, image_id: str, mounts: Iterable[Path] = ()) -> list[Path]:
    """Lower folders, bottom first: the image's layers, then the trees of the mounts in their order.

    Raises ``NotFoundError`` where the image is not on this machine.
    """
    layers = cache.Layers(home)
    files = [layers.files(layer) for layer in layers.read(image_id)["layers"]]
    return [*files, *(_fitting(files, image_id, tree) for tree in mounts)]


def mode(layers: Sequence[Path], inside: Path) -> int | None:
    """The permissions of a folder in a stack of layers; None where there is no such folder."""
    entry = _look(layers, inside)
    return stat.S_IMODE(entry.state.st_mode) if entry is not None and stat.S_ISDIR(entry.state.st_mode) else None


class Texts:
    """Small files of an image, read from its ``layers`` (bottom first) without stacking them."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._layers = layers

    def text(self, path: str) -> str:
        """A file's text; "" where there is none."""
        return read(self._layers, PurePosixPath("/") / path).decode("utf-8", "replace")


def exists(layers: Sequence[Path], inside: str) -> bool:
    """Whether the layers (bottom first) hold something at ``inside``, links followed as in a container."""
    return find(layers, PurePosixPath("/") / inside) is not None


class Entry(NamedTuple):
    """What a path is in a stack of layers. ``path``: on this machine; ``inside``: relative to the container's root."""

    state: os.stat_result
    path: Path
    inside: Path


def find(layers: Sequence[Path], inside: PurePosixPath) -> Entry | None:
    """What ``inside`` is in the stack, all links followed as in the container; None where it is nothing."""
    try:
        return _look(layers, resolved(layers, inside))
    except exception.InvalidError:
        return None


def read(layers: Sequence[Path], inside: PurePosixPath) -> bytes:
    """The beginning of the file ``inside``; nothing where there is no plain file."""
    entry = find(layers, inside)
    if entry is None or not stat.S_ISREG(entry.state.st_mode):
        return b""
    with entry.path.open("rb") as file:
        return file.read(_READ)


def resolved(layers: Sequence[Path], inside: PurePosixPath) -> Path:
    """Where ``inside`` lies, relative to the root, with all links followed. Raises ``InvalidError`` for a circle."""
    return _resolve(layers, Path(*inside.parts[1:]))


def names(layers: Sequence[Path], inside: Path) -> set[str]:
    """What the folder ``inside``, a place without links, may hold: names in any layer, removed ones included."""
    return {entry.name for folder in _folders(layers, inside) for entry in folder.iterdir()}


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
        graft(layers, tree, draft)
        draft.rename(fitted)
    except OSError:
        if not fitted.exists():  # another start was quicker
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return fitted


def _shared(layers: Sequence[Path], tree: Path) -> Iterator[tuple[Path, Entry]]:
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


def graft(layers: Sequence[Path], tree: Path, draft: Path) -> None:
    """Link the files of ``tree`` into the new layer ``draft``, where the links of the image lead their paths to."""
    for folder, names, files in os.walk(tree):
        inside = Path(folder).relative_to(tree)
        place = _make(layers, draft, _resolve(layers, inside))
        for name in [*files, *(name for name in names if (Path(folder) / name).is_symlink())]:
            target = place / name
            target.unlink(missing_ok=True)
            os.link(Path(folder) / name, target, follow_symlinks=False)
        names.sort()


def hide_below(folder: Path) -> None:
    """Let the folder of a new layer hide all that earlier layers have in it."""
    os.setxattr(folder, _OPAQUE, b"y")


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
    walked, trail, rest, followed = Path(), [list(reversed(layers))], list(inside.parts), 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            walked = walked.parent
            del trail[max(1, len(trail) - 1) :]
            continue
        kinds = list(_kinds(trail[-1], part))
        if not kinds or not stat.S_ISLNK(kinds[0][1].st_mode):
            walked = walked / part
            trail.append([path for path, state in kinds if stat.S_ISDIR(state.st_mode)])
            continue
        followed += 1
        if followed > _LINKS:
            raise exception.InvalidError(f"the image's links at /{inside} lead nowhere")
        goal = kinds[0][0].readlink()
        if goal.is_absolute():
            walked, goal = Path(), Path(*goal.parts[1:])
            del trail[1:]
        rest = [*(piece for piece in goal.parts if piece != "."), *rest]
    return walked


def _look(layers: Sequence[Path], inside: Path) -> Entry | None:
    """What ``inside`` is in the stack, links not followed; None where it is nothing."""
    for path, state in _kinds(_folders(layers, inside.parent), inside.name):
        return Entry(state, path, inside)
    return None


def _folders(layers: Sequence[Path], inside: Path) -> list[Path]:
    """The folders of layers that are seen together as the folder ``inside``, topmost first."""
    seen = list(reversed(layers))
    for part in inside.parts:
        kinds = list(_kinds(seen, part))
        seen = [path for path, state in kinds if stat.S_ISDIR(state.st_mode)]
    return seen


def _kinds(folders: Iterable[Path], name: str) -> Iterator[tuple[Path, os.stat_result]]:
    """What ``name`` is in each of ``folders``, from the topmost down to where it hides what is below."""
    for folder in folders:
        path = folder / name
        try:
            state = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISCHR(state.st_mode) and state.st_rdev == 0:
            return  # removed by this layer
        yield path, state
        if not stat.S_ISDIR(state.st_mode) or _is_opaque(path):
            return


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE) == b"y"
    except OSError:
        return False
