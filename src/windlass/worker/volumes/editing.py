"""Changes of a volume from outside become one layer: uploads put into place, and removals, copies, folders.

Uploads go straight into the new layer; whole files are moved there, small ones are cut out of packs. Everything else is
done with the kernel's own means in a stack of the volume below the new layer. Links of the volume are followed as in a
container that has it as its root; none leads out of it.
"""
from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from windlass import exception
from windlass.kit import digests
from windlass.wire.messages import volumes as messages
from windlass.worker import overlay, spec
from windlass.worker.images import rooted
from windlass.worker.volumes import deduplicating, reading, taking
from windlass.worker.volumes import layers as layer_store

_NAME = 255
_PACKED = 256 * 1024  # bytes of files that come in packs
_Step = Callable[[Path, messages.EditStep], None]
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def edit(layers: layer_store.Layers, layer_ids: Sequence[str], text: bytes, uploads: Path) -> layer_store.Made:
    """The layer by which ``layer_ids`` become what the steps in ``text`` ask for. Nothing is changed where one fails.

    Raises:
        InvalidError: a step makes no sense, or a path is not allowed.
        NotFoundError: something is missing: a file, or an upload.
        AlreadyExistsError: something is in the way.
    """
    steps = parsed(text)
    puts = [step for step in steps if step["op"] == "put"]
    folders = [step for step in steps if step["op"] == "folder"]
    if puts and len(puts) + len(folders) != len(steps):
        raise exception.InvalidError("uploads and other changes are separate edits")
    with layers.hold(layer_ids), layers.draft() as draft:
        if puts:
            with layers.view(layer_ids) as view, rooted.at(view) as root:
                below = functools.partial(layers.topmost, layer_ids)
                putting = _Putting(root, view, draft / "files", uploads, below)
                putting.all(puts)
                for step in folders:
                    putting.folder(step)
            made = layers.publish(draft, putting.files, puts=putting.puts, clears=[])
            spent(uploads, puts)
            for blob in putting.unneeded:
                upload(uploads, blob).unlink(missing_ok=True)
            return made
        _change(layers, layer_ids, draft, steps)
        with layers.draft() as second:
            taken = taking.take(draft / "files", second / "files", {}, frozen=True)
            return layers.publish(second, taken.files, puts=taken.puts, clears=taken.clears)


def parsed(text: bytes) -> list[messages.EditStep]:
    """The steps of an edit. Raises ``InvalidError``."""
    try:
        steps = msgspec.convert(json.loads(text), list[messages.EditStep])
    except (ValueError, RecursionError) as exc:
        raise exception.InvalidError(f"malformed edit: {exc}") from None
    for step in steps:
        if "op" not in step:
            raise exception.InvalidError("malformed edit: a step without its kind")
    return steps


def parts(path: str) -> tuple[str, ...]:
    """The names of a path in a volume. Raises ``InvalidError`` for what could lead out of it, or can be no name."""
    names = tuple([part for part in path.split("/") if part not in ("", ".")])
    if ".." in names or "\0" in path:
        raise exception.InvalidError(f"the path {path!r} is not allowed", hint="Leave out '..'.")
    if len(path) * 4 > _NAME and any(len(os.fsencode(name)) > _NAME for name in names):
        raise exception.InvalidError(f"a name in the path {path[:80]!r}… is too long")
    taking.check_length(path)
    if len(names) > taking.DEPTH:
        raise exception.InvalidError(f"folders may be nested {taking.DEPTH} deep")
    return names


class _Folder:
    """A folder that files are put into: ``place`` in the layer in the making, ``path`` in the volume. ``there``: what
    it has, and whether that is a folder."""

    __slots__ = ("path", "place", "there")

    def __init__(self, place: str, path: str, view: str) -> None:
        self.place = place
        self.path = path
        self.there: dict[str, bool] = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(view) as entries:
            self.there = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}


class _Putting:
    """``view``: what the volume is; ``target``: the layer in the making; ``below``: where a file of the volume lies,
    and its digest. Speed counts here: uploads have many files."""

    def __init__(
        self, root: rooted.Root, view: Path, target: Path, uploads: Path,
        below: Callable[[str], tuple[Path, str] | None],
    ) -> None:  # fmt: skip
        self._root = root
        self._view = str(view)
        self._target = str(target)
        self._uploads = uploads
        self._below = below
        self._folders: dict[tuple[str, ...], _Folder] = {}
        self._by_path: dict[str, _Folder] = {}
        self._packs: dict[str, int] = {}
        self._moved: dict[str, str] = {}
        self.files: dict[str, tuple[str, int]] = {}
        self.puts: list[str] = []
        self.unneeded: set[str] = set()
        """Uploads of what was there already."""

    def all(self, steps: Sequence[messages.EditStep]) -> None:
        places = [self._place(step) for step in steps]  # everything is looked at before anything is moved
        last = {(folder.path, name): step for step, (folder, name) in zip(steps, places, strict=True)}
        try:
            for step, (folder, name) in zip(steps, places, strict=True):
                if last[folder.path, name] is step:  # of two uploads to one path, the later counts
                    self._put(step, folder, name)
        finally:
            for descriptor in self._packs.values():
                os.close(descriptor)

    def folder(self, step: messages.EditStep) -> None:
        """Let a folder be there, whatever is in it."""
        names = parts(step["path"])
        self._folders[names] = self._folders.get(names) or self._folder(names, step["path"])

    def _place(self, step: messages.EditStep) -> tuple[_Folder, str]:
        names = parts(step["path"])
        if not names:
            raise exception.InvalidError("a file in a volume needs a name")
        folder = self._folders.get(names[:-1])
        if folder is None:
            folder = self._folders[names[:-1]] = self._folder(names[:-1], step["path"])
        is_folder = folder.there.get(names[-1])
        if is_folder:
            raise exception.AlreadyExistsError(f"{step['path']!r} is a folder, which no file can replace")
        if is_folder is not None and not step.get("force"):
            raise exception.AlreadyExistsError(f"{step['path']!r} exists already", hint="Pass force=True.")
        folder.there[names[-1]] = False
        return folder, names[-1]

    def _folder(self, names: tuple[str, ...], shown: str) -> _Folder:
        """The folder of the new layer for ``names``, links of the volume followed."""
        folder, walked = self._at(""), ""
        for name in names:
            walked = f"{walked}/{name}"
            try:
                state = self._root.state(walked)
            except OSError as exc:
                raise exception.InvalidError(f"the way to {shown!r} leads nowhere: {exc.strerror}") from None
            if state is not None and stat.S_ISDIR(state.st_mode):
                with self._root.opened(walked, os.O_PATH | os.O_DIRECTORY) as descriptor:
                    real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
                folder = self._at(real[len(self._view) + 1 :])
                continue
            if state is not None or folder.there.get(name) is False:
                raise exception.AlreadyExistsError(f"the way to {shown!r} leads through a file: {walked!r}")
            folder.there[name] = True
            folder = self._at(f"{folder.path}/{name}" if folder.path else name)
        return folder

    def _at(self, path: str) -> _Folder:
        """The folder that is really at ``path``, made in the layer with all above it."""
        folder = self._by_path.get(path)
        if folder is None:
            place, view = f"{self._target}/{path}".rstrip("/"), f"{self._view}/{path}".rstrip("/")
            if path:
                self._at(path.rpartition("/")[0])
                if Path(view).is_dir():
                    Path(place).mkdir()
                    layer_store.dress_like(Path(place), Path(view))
                else:
                    layer_store.dressed(Path(place))
                    self.puts.append(path)
            folder = self._by_path[path] = _Folder(place, path, view)
        return folder

    def _put(self, step: messages.EditStep, folder: _Folder, name: str) -> None:
        place, path = f"{folder.place}/{name}", f"{folder.path}/{name}" if folder.path else name
        mode = step.get("mode", 0o644) & 0o777 | 0o400
        if is_whole(step) and step.get("force") and (there := self._unchanged(step, path, mode)) is not None:
            os.link(there, place)
            self.unneeded.add(step["blob"])
        else:
            descriptor = self._move(step, place) if is_whole(step) else self._cut(step, place)
            try:
                os.fchmod(descriptor, mode)
                os.fchown(descriptor, spec.OWNER, spec.OWNER)
            finally:
                os.close(descriptor)
        self.files[path] = (step["digest"], step["size"])
        self.puts.append(path)

    def _unchanged(self, step: messages.EditStep, path: str, mode: int) -> Path | None:
        """The file that ``path`` is already, where that is the same as what was sent, byte for byte: it stays as it is,
        with its times, and takes no room again."""
        try:
            state = os.lstat(f"{self._view}/{path}")  # what was removed meanwhile is not what it was
            if (state.st_mode, state.st_uid, state.st_gid) != (stat.S_IFREG | mode, spec.OWNER, spec.OWNER):
                return None
            found = self._below(path) if state.st_size == step["size"] else None
            if found is None or found[1] != step["digest"]:
                return None
            sent = self._moved.get(step["blob"]) or upload(self._uploads, step["blob"])
            with found[0].open("rb", buffering=0) as one, open(sent, "rb", buffering=0) as other:  # noqa: PTH123
                return found[0] if deduplicating.same_bytes(one, other) else None
        except (OSError, exception.DataLossError):
            return None  # it is damaged, so what was sent shall take its place; or that is gone, which is told then

    def _move(self, step: messages.EditStep, place: str) -> int:
        """A whole file. The server has compared its digest when it arrived."""
        if (other := self._moved.get(step["blob"])) is not None:
            shutil.copyfile(other, place)
        else:
            try:
                upload(self._uploads, step["blob"]).rename(place)
            except FileNotFoundError:
                raise exception.NotFoundError(f"the upload {step['blob']} is not here any more") from None
            os.utime(place)
            self._moved[step["blob"]] = place
        return os.open(place, _NEW & ~os.O_CREAT & ~os.O_EXCL)

    def _cut(self, step: messages.EditStep, place: str) -> int:
        source = self._packs.get(step["blob"])
        if source is None:
            try:
                source = self._packs[step["blob"]] = os.open(upload(self._uploads, step["blob"]), os.O_RDONLY)
            except FileNotFoundError:
                raise exception.NotFoundError(f"the upload {step['blob']} is not here any more") from None
        data = cut(source, step)
        descriptor = os.open(place, _NEW, 0o600)
        os.write(descriptor, data)
        return descriptor


def is_whole(step: messages.EditStep) -> bool:
    """Whether the upload is the file itself and may be moved into place. A small one is cut out, as from a pack: of
    many who send the same bytes at the same time, all find them."""
    return step["blob"] == step["digest"] and step["size"] > _PACKED


def spent(uploads: Path, puts: Sequence[messages.EditStep]) -> None:
    """Packs of which all is in place count as old: they go with the next sweep, unless somebody asks for them again."""
    for blob in {step["blob"] for step in puts if not is_whole(step)}:
        with contextlib.suppress(FileNotFoundError):
            os.utime(upload(uploads, blob), (0, 0))


def cut(pack: int, step: messages.EditStep) -> bytes:
    """A file's bytes out of the pack that it came in. Raises ``DataLossError``."""
    data = os.pread(pack, step["size"], step["offset"])
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != step["digest"]:
        raise exception.DataLossError(f"{step['path']!r} did not arrive whole")
    return data


def upload(folder: Path, digest: str) -> Path:
    """Where an upload lies. Raises ``InvalidError``."""
    name = digests.name(digest)
    if not name:
        raise exception.InvalidError(f"malformed digest {digest[:80]!r}")
    return folder / name[:2] / name


# -- everything else ---------------------------------------------------------------------------------------


def _change(
    layers: layer_store.Layers, layer_ids: Sequence[str], draft: Path, steps: Sequence[messages.EditStep]
) -> None:
    merged, work = draft / layer_store.MERGED, draft / "work"
    merged.mkdir()
    work.mkdir()
    overlay.mount(merged, lowers=layers.lowers(layer_ids), upper=draft / "files", work=work)

    def check(source: str, copy: str) -> None:
        """What is damaged would get the digest of what is whole. Raises ``DataLossError``."""
        path = source.removeprefix(f"{merged}/")
        if not os.path.lexists(draft / "files" / path) and (found := layers.topmost(layer_ids, path)) is not None:
            with open(copy, "rb") as file:  # noqa: PTH123
                reading.compare(iter(lambda: file.read(reading.PIECE), b""), (found[1], 0), path)

    kinds: dict[str, _Step] = {**_STEPS, "copy": functools.partial(_copy, check=check)}
    try:
        for step in steps:
            try:
                kinds[step["op"]](merged, step)
            except KeyError as exc:
                raise exception.InvalidError(f"malformed edit: {exc}") from None
            except OSError as exc:
                raise said(exc, step.get("path", "")) from None
    finally:
        overlay.unmount(merged)


def said(exc: OSError, path: str) -> exception.Error:
    """What the kernel refused, in our words."""
    kinds: dict[int | None, type[exception.Error]] = {
        errno.ENOENT: exception.NotFoundError, errno.EEXIST: exception.AlreadyExistsError,
        errno.ENOSPC: exception.ResourceExhaustedError, errno.EDQUOT: exception.ResourceExhaustedError,
        errno.EIO: exception.DataLossError,
    }  # fmt: skip
    return kinds.get(exc.errno, exception.InvalidError)(f"{path!r}: {exc.strerror}")


def _real(tree: Path, path: str) -> Path:
    """Where ``path`` is below ``tree``: links on the way followed, not that at its end. Nobody else writes there."""
    names = parts(path)
    if not names:
        return tree
    with rooted.at(tree) as root, root.opened("/".join(names[:-1]), os.O_PATH | os.O_DIRECTORY) as descriptor:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")) / names[-1]  # noqa: PTH115


def _remove(tree: Path, step: messages.EditStep) -> None:
    target = _real(tree, step["path"])
    if not os.path.lexists(target):
        raise reading.missing(step["path"])
    if target == tree:
        if not step.get("recursive"):
            raise exception.InvalidError("the root is a folder", hint="Pass recursive=True to empty it.")
        for entry in list(target.iterdir()):
            _delete(entry)
        return
    if target.is_dir() and not target.is_symlink() and not step.get("recursive"):
        raise exception.InvalidError(f"{step['path']!r} is a folder", hint="Pass recursive=True to remove it.")
    _delete(target)


def _delete(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink()


def _make_folder(tree: Path, step: messages.EditStep) -> None:
    place = tree
    for name in parts(step["path"]):
        place = _real(tree, str((place / name).relative_to(tree)))
        if not place.is_dir():
            layer_store.dressed(place)


def _copy(tree: Path, step: messages.EditStep, *, check: Callable[[str, str], None]) -> None:
    sources = step["sources"]
    target = _followed(tree, step["path"])
    into = target.is_dir()
    becomes = len(sources) == 1 and step.get("recursive") and _followed(tree, sources[0]).is_dir()  # as of ``cp -r``
    if not into and (len(sources) > 1 or (step["path"].endswith("/") and not becomes)):
        raise exception.NotFoundError(f"{step['path']!r} is no folder in the volume")
    for path in sources:
        source = _followed(tree, path)
        if not os.path.lexists(source):
            raise reading.missing(path)
        goal = target / parts(path)[-1] if into and parts(path) else target
        if source == goal:
            raise exception.InvalidError(f"{path!r} and {step['path']!r} are the same file")
        if source.is_dir():
            if not step.get("recursive"):
                raise exception.InvalidError(f"{path!r} is a folder", hint="Pass recursive=True to copy it.")
            if goal.is_relative_to(source):
                raise exception.InvalidError(f"{path!r} cannot be copied into itself")
            copy = functools.partial(_copy_file, check=check)
            shutil.copytree(source, goal, symlinks=True, copy_function=copy, dirs_exist_ok=True)
            for folder, _, _ in os.walk(goal):
                os.chown(folder, spec.OWNER, spec.OWNER)
        elif goal.is_dir():
            raise exception.AlreadyExistsError(f"{step['path']!r} is a folder, which no file can replace")
        else:
            _copy_file(str(source), str(goal), check=check)


def _copy_file(source: str, target: str, *, check: Callable[[str, str], None]) -> None:
    Path(target).unlink(missing_ok=True)
    if Path(source).is_symlink():
        Path(target).symlink_to(Path(source).readlink())
    elif stat.S_ISREG(os.lstat(source).st_mode):
        shutil.copy2(source, target)
        check(source, target)
    else:
        return
    os.chown(target, spec.OWNER, spec.OWNER, follow_symlinks=False)


def _followed(tree: Path, path: str) -> Path:
    """Where ``path`` is with that link followed, too, if it leads somewhere."""
    parts(path)
    with rooted.at(tree) as root:
        if root.state(path) is None:
            return _real(tree, path)
        with root.opened(path, os.O_PATH) as descriptor:
            return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115


_STEPS: dict[str, _Step] = {"remove": _remove, "folder": _make_folder}
