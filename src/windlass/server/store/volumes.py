"""Rows of volumes, of their versions, and of the layers that versions are made of."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from windlass.server.store import database, lasting

_SQL = database.queries("volumes")


class Row(NamedTuple):
    id: str
    environment: str
    name: str | None
    kind: int
    head: int
    created_at: float
    created_by: str
    beat_at: float
    quota: int | None = None
    """Bytes; 0 for no limit, None for what the settings say."""


class Version(NamedTuple):
    """``puts`` and ``clears`` are paths. ``made_by``: container, or edit; ``author``: whose edit it was."""

    n: int
    made_by: str
    layer: str
    layers: list[str]
    puts: frozenset[bytes]
    clears: frozenset[bytes]
    files: int
    size: int
    created_at: float
    author: str = ""


class Layer(NamedTuple):
    """``pack``: digest of its archive, where that is kept as an object."""

    id: str
    digest: str
    files: int
    size: int
    pack: str | None = None


_rows = lasting.Rows(_SQL, Row)
by_id, by_name, named, silent = _rows.by_id, _rows.by_name, _rows.named, _rows.silent
insert, beat, rename_environment = _rows.insert, _rows.beat, _rows.rename_environment


def everything(db: database.Database) -> list[Row]:
    """Of all environments, ephemeral ones, too."""
    return [Row(*row) for row in db.all(_SQL["everything"])]


def stacks(db: database.Database) -> list[tuple[str, int, list[str]]]:
    """Volume, number and layers of all versions."""
    return [(volume_id, n, json.loads(layers)) for volume_id, n, layers in db.all(_SQL["stacks"])]


def set_quota(db: database.Database, volume_id: str, quota: int | None) -> None:
    db.run(_SQL["set_quota"], (quota, volume_id))


def rename(db: database.Database, volume_id: str, name: str) -> None:
    db.run(_SQL["rename"], (name, volume_id))


def delete(db: database.Database, volume_id: str) -> None:
    db.run(_SQL["delete"], (volume_id,))
    db.run(_SQL["delete_versions"], (volume_id,))


def delete_environment(db: database.Database, environment: str) -> None:
    for (volume_id,) in db.all(_SQL["of_environment"], (environment,)):
        delete(db, volume_id)


def version(db: database.Database, volume_id: str, n: int) -> Version | None:
    row = db.one(_SQL["version"], (volume_id, n))
    return _version(row) if row else None


def since(db: database.Database, volume_id: str, n: int) -> list[Version]:
    """Versions after ``n``, in order."""
    return [_version(row) for row in db.all(_SQL["since"], (volume_id, n))]


def history(db: database.Database, volume_id: str, most: int) -> list[Version]:
    """Newest first, without their paths."""
    return [_version(row) for row in db.all(_SQL["history"], (volume_id, most))]


def with_layer(db: database.Database, volume_id: str, layer: str) -> int | None:
    """The version that added a layer."""
    row = db.one(_SQL["with_layer"], (volume_id, layer))
    return row[0] if row else None


def made_by(db: database.Database, volume_id: str, author: str) -> int | None:
    """The newest version that somebody made."""
    row = db.one(_SQL["made_by"], (volume_id, author))
    return row[0] if row else None


def add(db: database.Database, volume_id: str, one: Version) -> None:
    """A new version, which is the newest from now on."""
    values = (
        volume_id, one.n, one.made_by, one.layer, json.dumps(one.layers), _packed(one.puts), _packed(one.clears),
        one.files, one.size, one.created_at, one.author,
    )  # fmt: skip
    db.run(_SQL["insert_version"], values)
    db.run(_SQL["set_head"], (one.n, volume_id))


def set_layers(db: database.Database, volume_id: str, n: int, layers: Sequence[str]) -> None:
    """Other layers that show the same."""
    db.run(_SQL["set_layers"], (json.dumps(list(layers)), volume_id, n))


def forget_versions(db: database.Database, volume_id: str, before: int) -> None:
    db.run(_SQL["forget_versions"], (volume_id, before))


def add_layer(db: database.Database, layer: Layer) -> None:
    db.run(_SQL["insert_layer"], layer)


def layer(db: database.Database, layer_id: str) -> Layer | None:
    row = db.one(_SQL["layer"], (layer_id,))
    return Layer(*row) if row else None


def layer_sizes(db: database.Database) -> dict[str, int]:
    """Bytes of all layers."""
    return dict(db.all(_SQL["layer_sizes"]))


def set_pack(db: database.Database, layer_id: str, pack: str) -> None:
    db.run(_SQL["set_pack"], (pack, layer_id))


def unpacked(db: database.Database) -> list[str]:
    """Layers without an archive."""
    return [layer_id for (layer_id,) in db.all(_SQL["unpacked"])]


def heads(db: database.Database) -> list[tuple[str, int, list[str]]]:
    """Volume, version and layers of each volume's newest version."""
    return [(volume_id, n, json.loads(layers)) for volume_id, n, layers in db.all(_SQL["heads"])]


def named_layers(db: database.Database) -> list[str]:
    """Layers that versions name."""
    return sorted({layer for (text,) in db.all(_SQL["all_stacks"]) for layer in json.loads(text)})


def forget_unnamed_layers(db: database.Database) -> list[str]:
    """Drop the rows of layers that no version names; the layers that remain."""
    named = set(named_layers(db))
    for (layer_id,) in db.all(_SQL["all_layers"]):
        if layer_id not in named:
            db.run(_SQL["forget_layer"], (layer_id,))
    return sorted(named)


def _version(row: tuple[Any, ...]) -> Version:
    n, made_by, layer, layers, puts, clears, files, size, created_at, author = row
    return Version(
        n, made_by, layer, json.loads(layers), _unpacked(puts), _unpacked(clears), files, size, created_at, author
    )  # fmt: skip


def _packed(paths: Iterable[bytes]) -> bytes:
    text = b"\0".join(sorted(paths))
    return zlib.compress(text, 1) if text else b""


def _unpacked(data: bytes) -> frozenset[bytes]:
    return frozenset(zlib.decompress(data).split(b"\0")) if data else frozenset()
