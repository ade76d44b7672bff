"""Is the store of layers whole? ``python -m windlass.worker.images.fsck LAYERS`` prints one JSON object a line.

A program of its own: a walk over everything must not keep the worker from its containers, and may be killed. It only
looks. Layers come and go meanwhile; what is gone when its turn comes is passed over.
"""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from windlass.kit import ids
from windlass.wire.messages import upkeep
from windlass.worker.images import cache, seal, store

Record = Mapping[str, Any]

_WHOLE: dict[str, type] = {
    "layers": list, "env": dict, "workdir": str, "entrypoint": list, "python": str, "size": int
}  # fmt: skip


def check(layers: Path) -> Iterator[upkeep.FsckEvent]:
    """Look at every layer: progress, and a finding for all that is not as it should be."""
    found = store.names(layers)
    records = {name: _record(layers, name) for name in found}
    yield from map(_found, _leftovers(layers))
    for number, name in enumerate(found):
        yield {"done": number, "of": len(found)}
        yield from map(_found, _layer(layers, name, records))
    for name in store.orphans(records, frozenset()):
        if records[name] is not None:
            yield _found({"name": name, "kind": "orphan", "detail": "no image lists this layer; the next pull may"})
    yield {"checked": len(found)}


def _layer(layers: Path, name: str, records: Mapping[str, Record | None]) -> Iterator[upkeep.Finding]:
    record, folder = records[name], layers / name
    if not _is_layer(name):
        yield {"name": name, "kind": "stray", "detail": "this is no layer"}
    elif record is None:
        if folder.exists():
            yield {"name": name, "kind": "no record", "detail": "meta.json is missing or damaged"}
    else:
        for layer in record.get("layers", []):
            if records.get(layer) is None or not (layers / layer / "files").is_dir():
                yield {"name": name, "kind": "missing layer", "detail": f"layer {layer} is not there"}
        sealed = record.get("seal", "")
        if seal.comparable(sealed) and seal.look(folder / "files").text != sealed and folder.exists():
            yield {"name": name, "kind": "changed", "detail": "its files are not what was published"}


def _leftovers(layers: Path) -> Iterator[upkeep.Finding]:
    words = {cache.DRAFT: "left half-made", cache.GONE: "left half-deleted"}
    for entry in sorted(entry.name for entry in layers.iterdir()) if layers.exists() else []:
        for prefix, detail in words.items():
            if entry.startswith(prefix):
                yield {"name": entry, "kind": "draft", "detail": detail}


def _record(layers: Path, name: str) -> Record | None:
    """What a later step or a container can rely on; None where something is missing."""
    record = store.read(layers / name)
    if record is None or not ids.is_id(name, "im"):
        return record
    whole = all(isinstance(record.get(key), kind) for key, kind in _WHOLE.items())
    return record if whole and all(isinstance(layer, str) for layer in record["layers"]) else None


def _is_layer(name: str) -> bool:
    return ids.is_id(name, "im") or name.startswith(cache.SHARED)


def _found(finding: upkeep.Finding) -> upkeep.FsckEvent:
    return {"finding": finding}


def main() -> None:
    for event in check(Path(sys.argv[1])):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
