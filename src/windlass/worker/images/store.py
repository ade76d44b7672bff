"""The store of images as a whole: what it holds, and how something leaves it.

An image goes by a rename first, which is the moment at which it is gone for everybody, and is deleted then; a crash in
between leaves something that the next sweep removes. Layers that several images share vanish with the last record that
lists them. What runs here is safe whatever is asked: containers, builds and exports hold what they use.
"""
from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from windlass.kit import ids
from windlass.wire.messages import upkeep
from windlass.worker import folder as folders
from windlass.worker import userns
from windlass.worker.images import cache, holds

_DISK = "lost+found"  # a file system of its own may hold the layers
_log = logging.getLogger(__name__)
Record = Mapping[str, Any]


class Taken(NamedTuple):
    """What is gone for everybody and waits to be deleted."""

    names: list[str]
    freed: int
    folders: list[Path]


class Store:
    """Everything in ``layers/`` and ``mounts/`` below ``home``."""

    def __init__(self, home: Path, held: holds.Holds) -> None:
        self.held = held
        self.home = home
        self.layers = home / "layers"
        self._mounts = home / "mounts"

    async def inventory(self) -> upkeep.Inventory:
        """What is here, by the records: nothing is measured."""
        return await asyncio.to_thread(self._inventory)

    def take(self, wanted: Collection[str], mounts: Collection[str] = ()) -> Taken:
        """Give new names to those of the ``wanted`` layers and ``mounts`` that nothing here uses.

        Call on the event loop: nobody may begin to use an image between the look and the renaming.
        """
        used, records = self.in_use(), self._records()
        going = removable(records, wanted, used)
        left = {name: record for name, record in records.items() if name not in going}
        if not self.held.building:
            going += orphans(left, used)
        freed, renamed = 0, []
        for name in going:
            freed += size(name, records[name])
            renamed.append(_aside(self.layers / name))
        going += (left_behind := self._leftovers(wanted))
        renamed += [_aside(self.layers / name) for name in left_behind]
        renamed += [_aside(tree) for tree in self._trees(going, mounts, used)]
        if going:
            _sync(self.layers)
        return Taken(going, freed, renamed)

    async def delete(self, taken: Taken) -> None:
        """Free the space. A worker that ends meanwhile leaves the rest to the next one."""
        for folder in taken.folders:
            try:
                await userns.remove_tree(folder)
            except OSError as exc:
                _log.warning("what was removed cannot be deleted: %s", exc)
            finally:
                cache.Layers.at_work.discard(folder)

    def in_use(self) -> frozenset[str]:
        """Images and mounts in use here: what this process knows, and what folders of containers and templates say."""
        used = set(self.held.held())
        for kind in (folders.CONTAINERS, folders.FAMILIES):
            for name in folders.known(self.home, kind):
                record = folders.Folder(self.home, name, kind=kind).read() or {}
                used.update(record.get("uses", []))
        return frozenset(used)

    def _inventory(self) -> upkeep.Inventory:
        images: list[upkeep.StoredImage] = []
        sizes = {}
        for name, record in self._records().items():
            sizes[name] = size(name, record)
            if record is not None and ids.is_id(name, "im"):
                images.append({"image_id": name, "layers": list(record.get("layers", [])), "made_at": self._made(name)})
        return {"images": images, "sizes": sizes, "mounts": self._listed_mounts()}

    def _listed_mounts(self) -> list[upkeep.StoredMount]:
        try:
            found = [(entry.name, entry.stat().st_mtime) for entry in os.scandir(self._mounts)]
        except FileNotFoundError:
            return []
        return [{"name": name, "made_at": made} for name, made in sorted(found) if not name.startswith(".")]

    def _made(self, name: str) -> float:
        try:
            return (self.layers / name / "meta.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _records(self) -> dict[str, Record | None]:
        """The record of each layer by name; None where it has no whole one."""
        return {name: read(self.layers / name) for name in names(self.layers)}

    def _leftovers(self, wanted: Collection[str]) -> list[str]:
        """Those of the ``wanted`` that are drafts which nobody works in any more."""
        here = [entry for entry in self.layers.glob(".*-*") if entry.name in wanted]
        return [entry.name for entry in here if entry not in cache.Layers.at_work]

    def _trees(self, images: Iterable[str], mounts: Collection[str], used: Collection[str]) -> list[Path]:
        """Mounts that may go, and those fitted to images that are gone."""
        gone, found = set(images), []
        for mount in self._listed_mounts():
            digest, _, image = mount["name"].partition(".")
            if digest not in used and (digest in mounts or image in gone):
                found.append(self._mounts / mount["name"])
        return found


def removable(records: Mapping[str, Record | None], wanted: Collection[str], used: Collection[str]) -> list[str]:
    """Those of ``wanted`` that no other record lists and nobody uses; what stands on others comes first."""
    going = {name for name in wanted if name in records and name not in used}
    while stay := going & _listed(record for name, record in records.items() if name not in going):
        going -= stay
    return sorted(going, key=lambda name: (-len((records[name] or {}).get("layers", [])), name))


def orphans(records: Mapping[str, Record | None], used: Collection[str]) -> list[str]:
    """Shared layers that no record lists."""
    listed = _listed(records.values())
    return sorted(n for n in records if n.startswith(cache.SHARED) and n not in listed and n not in used)


def size(name: str, record: Record | None) -> int:
    """Bytes of the files of one layer; none where an image stands on the layers of others only."""
    if record is None or (ids.is_id(name, "im") and name not in record.get("layers", [])):
        return 0
    return int(record.get("size", 0))


def names(layers: Path) -> list[str]:
    """The folders of ``layers/`` that are neither drafts nor leaving."""
    try:
        return sorted(entry.name for entry in os.scandir(layers) if entry.name[0] != "." and entry.name != _DISK)
    except FileNotFoundError:
        return []


def read(layer: Path) -> Record | None:
    """The record of one layer, or None where it is missing or damaged."""
    try:
        record = json.loads((layer / "meta.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _listed(records: Iterable[Record | None]) -> set[str]:
    return {layer for record in records if record for layer in record.get("layers", [])}


def _aside(folder: Path) -> Path:
    gone = folder.with_name(f"{cache.GONE}{folder.name}-{ids.new('x')}")
    folder.rename(gone)
    cache.Layers.at_work.add(gone)
    return gone


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
