"""Whether the layers of volumes still hold what was committed: looked at again and again, and when somebody asks.

    volumes/<layer id>/checked       when all of it was last compared with its index (the file's time)
    volumes/<layer id>/damaged.json  the paths that were not what they had been; absent where all is well
    volumes/<layer id>/sealed        the kernel guards all of it from now on (``verity``)

Damage is a matter of paths: a file that a later commit replaced or removed harms nobody. So a volume is refused only
where a damaged file would be seen, and becomes whole again when that file is put anew, or an earlier version restored;
and a container that shows such a file is ended, for it reads from the layer itself (ADR 27).

What layers hold twice is stored once, on the same occasion (``deduplicating``): before anything is sealed, for then the
kernel shares no bytes of it any more.

Where kernel and file system can, a file that the background found whole is sealed, and compared once more: what it is
then is what a read gives from then on, or an error (ADR 32).
"""
from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import functools
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import blake3

from windlass import exception
from windlass.kit import digests
from windlass.worker import linux
from windlass.worker.volumes import deduplicating, taking, verity
from windlass.worker.volumes import layers as layer_store

AGAIN = 7 * 86400.0
"""Seconds after which a layer is looked at again."""
UNSEALED = 86400.0
"""Seconds after which one is that could be sealed, and is not."""
RATE = 32 * 1024 * 1024
"""Bytes that are read in a second while nobody waits for them."""
_CHUNK = 1024 * 1024
_CALM = 60.0  # seconds between looks, and the age of a layer that is worth one
_REST = 20  # looking for what is held twice may take a twentieth of a processor
_HINT = "Put the file again, or `windlass volume restore` an earlier version; `windlass volume check` looks again."
_log = logging.getLogger(__name__)
_Run = Callable[..., Awaitable[Any]]


class Damage(NamedTuple):
    """A file of a layer that is no longer what was committed. ``path`` "": what the layer's files were is not known."""

    layer_id: str
    path: str


def marked(layers: layer_store.Layers, layer_id: str) -> list[str]:
    """The damaged paths of a layer, as far as is known."""
    try:
        paths: list[str] = json.loads((layers.root / layer_id / "damaged.json").read_text())
    except FileNotFoundError:
        return []
    return paths


def mark(layers: layer_store.Layers, layer_id: str, paths: Sequence[str]) -> None:
    """Note what a look at a layer has found."""
    place = layers.root / layer_id
    if paths:
        draft = place / "damaged.new"
        draft.write_text(json.dumps(list(paths)))
        draft.rename(place / "damaged.json")
    else:
        (place / "damaged.json").unlink(missing_ok=True)


def visible(layers: layer_store.Layers, layer_ids: Sequence[str]) -> Iterator[Damage]:
    """What is known to be damaged in a stack, and not hidden by the layers above it."""
    for number, layer_id in enumerate(layer_ids):
        for path in marked(layers, layer_id):
            above = (layers.files(other) for other in layer_ids[number + 1 :])
            if not path or not any(_hides(tree, path) for tree in above):
                yield Damage(layer_id, path)


def refuse(seen: Iterable[Damage], only: str | None = None, *, below: str = "") -> None:
    """Raise ``DataLossError`` with the path of a damaged file that would be seen. ``only``: that path alone counts;
    ``below``: what is in that folder alone."""
    within = f"{below.strip('/')}/" if below.strip("/") else ""
    for damage in seen:
        if not damage.path or (damage.path.startswith(within) if only is None else damage.path == only):
            what = f"the content of {damage.path!r}" if damage.path else f"the index of layer {damage.layer_id}"
            raise exception.DataLossError(
                f"{what} in the volume is damaged: it is no longer what was committed", hint=_HINT
            )


def unreadable(layers: layer_store.Layers, layer_ids: Sequence[str], path: str) -> None:
    """Note that reading ``path`` of a stack failed: the disk, or the seal, says no."""
    for layer_id in reversed(layer_ids):
        if os.path.lexists(layers.files(layer_id) / path):
            _log.error("%r in layer %s of a volume is damaged: it cannot be read", path, layer_id)
            mark(layers, layer_id, sorted({*marked(layers, layer_id), path}))
            return


def _hides(tree: Path, path: str) -> bool:
    """Whether a layer shows something else at ``path``, or takes it away."""
    place = tree
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        place = place / part
        try:
            state = place.lstat()
        except FileNotFoundError:
            return False
        if number == len(parts) or not stat.S_ISDIR(state.st_mode) or _is_opaque(place):
            return True
    return False


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, taking.OPAQUE) == b"y"
    except OSError:
        return False


def look(
    layers: layer_store.Layers, layer_id: str, pace: Callable[[int], None], *,
    afresh: bool = False, sealing: bool = False,
) -> list[str]:  # fmt: skip
    """Compare a layer with its index, and note what was found; the damaged paths. ``pace`` is told of bytes that were
    read, and may wait or raise. ``afresh``: from the disk, also what is in memory. ``sealing``: seal what is whole."""
    try:
        index = layers.index(layer_id)
    except exception.DataLossError as exc:
        _log.error("%s", exc)
        mark(layers, layer_id, damaged := [""])
        return damaged
    tree, damaged, bare, guarded = layers.files(layer_id), [], 0, sealing
    for path, (digest, size) in index.items():
        found, sealed = _told(tree / path, digest, pace, afresh=afresh, sealing=sealing and size > 0)
        bare += not sealed and size > 0  # in an empty file nothing can flip
        guarded = guarded or sealed
        if found != digest:
            _log.error("%r in layer %s of a volume is damaged: it is %s, was %s", path, layer_id, found, digest)
            damaged.append(path)
    mark(layers, layer_id, damaged)
    (layers.root / layer_id / "checked").touch()
    if guarded or bare:  # what has nothing to seal is noted by who seals
        verity.note(layers.root / layer_id, whole=not bare)
    return damaged


def _told(
    file: Path, digest: str, pace: Callable[[int], None], *, afresh: bool, sealing: bool
) -> tuple[str, bool]:
    """As ``_seen``; or why the file cannot be read, which is damage, too."""
    try:
        return _seen(file, digest, pace, afresh=afresh, sealing=sealing)
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:  # it is sealed, and this kernel has no fs-verity
            raise
        return str(exc), False


def _seen(
    file: Path, digest: str, pace: Callable[[int], None], *, afresh: bool, sealing: bool
) -> tuple[str, bool]:
    """What a file's digest is, and whether the kernel guards that. A file that is damaged is not sealed as such."""
    with file.open("rb", buffering=0) as source:
        sealed = verity.is_sealed(source.fileno())
        found = _digest(source, digest, pace, afresh=afresh)
        if sealed or not sealing or found != digest or verity.seal(source.fileno(), pace) != verity.SEALED:
            return found, sealed
        source.seek(0)
        return _digest(source, digest, pace, afresh=True), True  # the kernel read it on its own, perhaps another way


def _digest(source: BinaryIO, like: str, pace: Callable[[int], None], *, afresh: bool) -> str:
    state = digests.Reading(like, blake3.blake3)
    # What is mapped stays in memory all the same. Without need, what others use shall not be pushed out by this.
    os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED if afresh else os.POSIX_FADV_NOREUSE)
    while piece := source.read(_CHUNK):
        state.update(piece)
        pace(len(piece))
    return state.digest()


class Stopped(Exception):
    """Whoever wanted to know has left."""


class Pace:
    """No more than ``rate`` bytes in a second; ends by ``Stopped`` when ``over`` is set."""

    def __init__(self, rate: float) -> None:
        self.over = threading.Event()
        self.done = 0
        self._rate = rate
        self._ahead = 0.0
        self._last = time.monotonic()

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        self.done += size
        self._ahead = max(0.0, self._ahead - (now - self._last)) + size / self._rate
        self._last = now
        if self.over.wait(self._ahead if self._ahead > 0.05 else 0):
            raise Stopped


class Scrub:
    """Looks at one layer after the other, those first that were never looked at, as slowly as nobody minds."""

    def __init__(
        self, layers: layer_store.Layers, *, found: Callable[[], Awaitable[None]] | None = None,
        again: float = AGAIN, rate: float = RATE, calm: float = _CALM,
    ) -> None:  # fmt: skip
        """``found``: is called when something was."""
        self._found = found
        self._layers = layers
        self._again = again
        self._rate = rate
        self._calm = calm
        self._sealing = False
        self._closed: set[str] = set()
        self._rested = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1, "check of layers", initializer=linux.give_way) as thread:
            self._sealing = await loop.run_in_executor(thread, self._can_seal)
            run = functools.partial(loop.run_in_executor, thread)
            while True:
                try:
                    if await self._looked(run):
                        continue
                except Exception as exc:  # noqa: BLE001 - a loop's tick: log, and try again at the next
                    _log.error("layers could not be looked at", exc_info=exc)
                await asyncio.sleep(self._calm)

    async def _looked(self, run: _Run) -> bool:
        """Look at what is due; whether there was anything."""
        await self._deduplicated(run)
        layer_id = await run(self._due)
        if not layer_id:
            return False
        pace = Pace(self._rate)
        try:
            damaged = await run(self._look, layer_id, pace)
        finally:
            pace.over.set()
        if damaged and self._found is not None:
            await self._found()
        return True

    async def _deduplicated(self, run: _Run) -> None:
        due = functools.partial(deduplicating.is_due, self._layers, time.time() - self._calm)
        if time.monotonic() < self._rested or not await run(due):
            return
        pace = Pace(self._rate)
        try:
            self._rested = time.monotonic() + _REST * await run(self._deduplicate, pace)
        finally:
            pace.over.set()

    def _deduplicate(self, pace: Pace) -> float:
        """How many seconds of a processor that took."""
        began = time.thread_time()
        try:
            if freed := deduplicating.deduplicate(self._layers, pace):
                _log.info("%s bytes of volumes were stored twice, and are once", f"{freed:,}")
        except Stopped:
            pass
        except OSError as exc:
            _log.warning("what volumes hold twice stays so for now: %s", exc)
            time.sleep(min(self._calm, 5.0))
        return time.thread_time() - began

    def _can_seal(self) -> bool:
        able = verity.able(self._layers.root)
        _log.info("stored files of volumes are %s", "sealed by fs-verity" if able.can else f"compared: {able.why}")
        return able.can

    def _look(self, layer_id: str, pace: Pace) -> list[str]:
        try:
            with self._layers.hold([layer_id]):
                return look(self._layers, layer_id, pace, sealing=self._sealing)
        except (exception.NotFoundError, FileNotFoundError, Stopped):  # removed meanwhile; or the worker ends
            pass
        except OSError as exc:
            _log.warning("layer %s could not be checked: %s", layer_id, exc)
            if exc.errno == errno.EOPNOTSUPP:
                self._closed.add(layer_id)  # for as long as this kernel runs
            time.sleep(min(self._calm, 5.0))
        return []

    def _due(self) -> str:
        """The layer that was not looked at for longest, of those whose time has come; "" for none."""
        now = time.time()
        due = ((then, layer_id) for then, layer_id, pause in self._times() if then < now - pause)
        return min(due, default=(0.0, ""))[1]

    def _times(self) -> Iterable[tuple[float, str, float]]:
        """When each layer was looked at, and how long that is enough."""
        settled = time.time() - self._calm
        for layer_id in set(self._layers.known()) - self._closed:
            place = self._layers.root / layer_id
            with contextlib.suppress(FileNotFoundError):
                if (place / "index.json").stat().st_mtime <= settled:
                    pause = min(UNSEALED, self._again) if self._sealing and not verity.noted(place) else self._again
                    yield (place / "checked").stat().st_mtime if (place / "checked").exists() else 0.0, layer_id, pause
