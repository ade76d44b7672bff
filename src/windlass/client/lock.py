"""Locks: what each step of a program's images installed, kept in a file beside the program.

    record    build as described, then write down each step's definition and what is installed after it
    keep      match the program's steps with the lock, build them with the versions of the lock, compare

An image that is here already and holds what the lock says is taken as it is. Whatever differs is an error that names
the step and the difference; nothing is ever built "nearly" as locked.
"""
from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from windlass import exception
from windlass.wire.messages import images

if TYPE_CHECKING:
    from windlass.client import imaging
    from windlass.client import session as sessions

    Plain = Callable[[list[images.Recipe]], Awaitable[imaging.Built]]

_FORMAT = 1
_SUFFIX = ".images.lock"
_SHOWN = 8  # differences that an error lists
_NOT_PINNED = frozenset({
    "base", "env", "workdir", "entrypoint", "cmd", "shell", "user", "copy", "fetch", "folder",
})  # fmt: skip


class Step(NamedTuple):
    """``installed``: all that is there after the step. ``image_id``: where the lock was written."""

    definition: dict[str, Any]
    image_id: str
    installed: images.Inventory
    digest: str


Image = Sequence[Step]


class Keeper(Protocol):
    """Stands between an image's recipes and their build."""

    async def build(self, chain: list[images.Recipe], plain: Plain, session: sessions.Session) -> imaging.Built:
        """The image of ``chain``; ``plain`` builds without a lock."""


_current: Keeper | None = None


def current() -> Keeper | None:
    """Who stands between now."""
    return _current


@contextlib.contextmanager
def using(keeper: Keeper) -> Iterator[None]:
    """All images of this process go through ``keeper`` inside the block."""
    global _current
    _current, before = keeper, _current
    try:
        yield
    finally:
        _current = before


def place(program: Path) -> Path:
    """The lock's file: ``train.py`` has ``train.images.lock``."""
    return program.with_name(program.stem + _SUFFIX)


def definition(recipe: images.Recipe) -> dict[str, Any]:
    """What a recipe says, without what differs from run to run."""
    left_out = {"pins"} | ({"image"} if recipe.get("op") == "copy" else set())
    said = {name: value for name, value in images.content(recipe).items() if name not in left_out}
    for kind in ("volumes", "nfs"):  # ids are others on each platform; where and how they are mounted is not
        if kind in said:
            said[kind] = [{k: v for k, v in one.items() if k not in ("volume_id", "nfs_id")} for one in said[kind]]
    plain: dict[str, Any] = json.loads(json.dumps(said, sort_keys=True))
    return plain


# -- recording ------------------------------------------------------------------------------------------


class Recorder:
    """Builds as described and remembers what was built."""

    def __init__(self) -> None:
        self._built: list[tuple[list[dict[str, Any]], list[str]]] = []

    async def build(self, chain: list[images.Recipe], plain: Plain, session: sessions.Session) -> imaging.Built:
        built = await plain(chain)
        self._built.append(([definition(recipe) for recipe in chain], built.chain))
        return built

    async def finished(self, session: sessions.Session) -> list[Image]:
        """What was built, each image once; parts of larger images are left out."""
        kept = [one for one in self._built if not any(_begins(other[1], one[1]) for other in self._built)]
        unique = {tuple(ids): definitions for definitions, ids in kept}
        found = await contents(session, sorted({image_id for ids in unique for image_id in ids}))
        return [
            [Step(said, image_id, found[image_id]["installed"], found[image_id]["digest"])
             for said, image_id in zip(definitions, ids, strict=True)]
            for ids, definitions in unique.items()
        ]  # fmt: skip


def _begins(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    return len(longer) > len(shorter) and list(longer[: len(shorter)]) == list(shorter)


async def contents(session: sessions.Session, image_ids: Sequence[str]) -> dict[str, images.Contents]:
    """What is in images, by id; those that are not here are left out."""
    body: images.ImageQuery = {"image_ids": list(image_ids)}
    found: dict[str, images.Contents] = (await session.request("image.contents", body)).body["images"]
    return found


# -- keeping --------------------------------------------------------------------------------------------


class Keeping:
    """Builds what the lock says, or fails with the difference. ``name``: of the lock's file, for messages."""

    def __init__(self, locked: Sequence[Image], name: str) -> None:
        self._locked = locked
        self._name = name

    async def build(self, chain: list[images.Recipe], plain: Plain, session: sessions.Session) -> imaging.Built:
        steps = match(self._locked, chain, self._name)
        chain = [_unforced(recipe) for recipe in chain]
        ids = [step.image_id for step in steps]
        if difference(steps, await contents(session, ids), ids) is None:
            built = await plain(chain)
            if built.chain == ids:
                return built
        try:
            built = await plain([pinned(recipe, step) for recipe, step in zip(chain, steps, strict=True)])
        except exception.ImageBuildError as exc:
            exc.hint = f"The step was held to the versions of {self._name}; `windlass image lock` accepts newer ones."
            raise
        if said := difference(steps, await contents(session, built.chain), built.chain):
            raise exception.ImageBuildError(
                f"the image built is not the one in {self._name}: {said}",
                hint="What the lock names cannot be had any more. `windlass image lock` accepts what there is now.",
            )
        return built


def match(locked: Sequence[Image], chain: Sequence[images.Recipe], name: str) -> Image:
    """The locked steps of ``chain``. Raises ``InvalidError`` with the first step that differs."""
    wanted = [definition(recipe) for recipe in chain]
    best, image = 0, locked[0] if locked else []
    for candidate in locked:
        common = _common(candidate, wanted)
        if common == len(wanted):
            return candidate[:common]
        if common > best:
            best, image = common, candidate
    there = words(image[best].definition) if best < len(image) else "nothing more"
    raise exception.InvalidError(
        f"an image of the program is not the one in {name}: step {best + 1} is {words(wanted[best])}, "
        f"in the lock {there}{_fields(image[best].definition if best < len(image) else {}, wanted[best])}",
        hint="Run `windlass image lock` again to lock the program as it is now.",
    )


def _common(image: Image, wanted: Sequence[dict[str, Any]]) -> int:
    number = 0
    for step, said in zip(image, wanted, strict=False):
        if step.definition != said:
            break
        number += 1
    return number


def _fields(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Which fields of one and the same kind of step differ, where the words do not show it."""
    if words(there) != words(here):
        return ""
    return f" (they differ in {', '.join(sorted(k for k in {*there, *here} if there.get(k) != here.get(k)))})"


def words(said: dict[str, Any]) -> str:
    """A step as people read it."""
    detail = said.get("commands") or said.get("packages") or [str(said.get(k, "")) for k in ("tag", "base", "path")]
    return f"`{' '.join([str(said.get('op', '')), *filter(None, detail)])}`"


def _unforced(recipe: images.Recipe) -> images.Recipe:
    left: Any = {name: value for name, value in recipe.items() if name != "force"}
    unforced: images.Recipe = left
    return unforced


def pinned(recipe: images.Recipe, step: Step) -> images.Recipe:
    """The recipe that gives what the lock says, as far as one can say it."""
    changed: images.Recipe = {**recipe}
    if recipe.get("base") == "registry" and step.digest:
        changed["tag"] = f"{_repository(recipe['tag'])}@{step.digest}"
    elif recipe.get("op") not in _NOT_PINNED:
        changed["pins"] = step.installed
    return changed


def _repository(tag: str) -> str:
    """An image's name without its tag or digest. A colon before the last slash belongs to a port."""
    name = tag.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def difference(steps: Image, found: dict[str, images.Contents], ids: Sequence[str]) -> str | None:
    """How what was built differs from the lock, in words; None where it does not."""
    for number, (step, image_id) in enumerate(zip(steps, ids, strict=True), 1):
        if image_id not in found:
            return f"image {image_id} is not on this platform"
        there = found[image_id]["installed"]
        lines = _differences(step.installed["debian"], there["debian"])
        lines += _differences(step.installed["python"], there["python"])
        if lines:
            more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
            return f"after step {number}, {words(step.definition)}: {', '.join(lines[:_SHOWN])}{more}"
    return None


def _differences(locked: dict[str, str], built: dict[str, str]) -> list[str]:
    return [
        f"{name} {built.get(name, 'is missing')} (locked {locked.get(name, 'without it')})"
        for name in sorted({*locked, *built}) if locked.get(name) != built.get(name)
    ]  # fmt: skip


# -- the file -------------------------------------------------------------------------------------------


def dump(locked: Sequence[Image]) -> str:
    """The file's text: each step with what it changed, in a form that shows well in a difference of two versions."""
    whole = {"format": _FORMAT, "images": [{"steps": [*_written(image)]} for image in sorted(locked, key=_order)]}
    return json.dumps(whole, indent=1, sort_keys=True) + "\n"


def _order(image: Image) -> str:
    return json.dumps([step.definition for step in image], sort_keys=True)


def _written(image: Image) -> Iterator[dict[str, Any]]:
    before: images.Inventory = {"debian": {}, "python": {}}
    for step in image:
        said: dict[str, Any] = {"step": step.definition, "image": step.image_id}
        if step.digest:
            said["digest"] = step.digest
        for kind in ("debian", "python"):
            old, new = before[kind], step.installed[kind]
            if changed := {name: new.get(name) for name in {*old, *new} if old.get(name) != new.get(name)}:
                said[kind] = changed
        before = step.installed
        yield said


def load(path: Path) -> list[Image]:
    """Read a lock. Raises ``NotFoundError`` and ``InvalidError``, each with the next step."""
    again = "Make it: `windlass image lock` and the program's file."
    try:
        whole = json.loads(path.read_text("utf-8"))
        if whole["format"] != _FORMAT:
            raise exception.InvalidError(f"{path} has format {whole['format']}, not {_FORMAT}", hint=again)
        return [[*_read(image["steps"])] for image in whole["images"]]
    except FileNotFoundError:
        raise exception.NotFoundError(f"there is no lock {path}", hint=again) from None
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise exception.InvalidError(f"{path} is no lock of Windlass: {exc!r}", hint=again) from None


def _read(steps: Sequence[dict[str, Any]]) -> Iterator[Step]:
    debian: dict[str, str] = {}
    python: dict[str, str] = {}
    for said in steps:
        debian, python = _after(debian, said.get("debian", {})), _after(python, said.get("python", {}))
        yield Step(said["step"], said["image"], {"debian": debian, "python": python}, said.get("digest", ""))


def _after(before: dict[str, str], changed: dict[str, str | None]) -> dict[str, str]:
    merged = {**before, **changed}
    return {name: version for name, version in sorted(merged.items()) if version is not None}
