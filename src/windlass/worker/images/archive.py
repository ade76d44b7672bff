"""An image as an OCI archive: ``python -m windlass.worker.images.archive``, its plan on stdin, the archive on stdout.

    oci-layout · index.json · blobs/sha256/…: manifest, config, one tar a layer

A program of its own, because it is busy for long and may be killed. Layers are read twice: the names and sizes of
blobs stand before their bytes, and nothing is kept, neither in memory nor on the disk. They are not compressed: a
compressed one would have to be compressed twice for that, and ``podman load`` unpacks it again at once; what shall be
small is piped through a compressor. What is printed to stderr is for the worker: how far it is, and what went wrong.
"""
from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from windlass import exception
from windlass.wire.messages import upkeep
from windlass.worker import spec
from windlass.worker.images import cache, tar

_TYPE = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EVERY = 0.5  # seconds between two words on how far it is


class Plan(TypedDict):
    """``layers``: folders with files, bottom first. ``config``: as OCI knows it, without the layers' digests."""

    layers: list[str]
    config: dict[str, Any]
    reference: str
    size: int


class _Blob(NamedTuple):
    digest: str
    size: int

    def described(self, kind: str) -> dict[str, Any]:
        return {"mediaType": f"{_TYPE}.{kind}", "digest": self.digest, "size": self.size}


def config(record: cache.Record, steps: Sequence[upkeep.ExportStep]) -> dict[str, Any]:
    """What an image says beside its files."""
    words: dict[str, Any] = {"Env": [f"{k}={v}" for k, v in sorted({"PATH": spec.PATH, **record["env"]}.items())]}
    rest = {
        "WorkingDir": record["workdir"], "Entrypoint": record["entrypoint"], "Cmd": record.get("cmd"),
        "User": record.get("user"),
    }  # fmt: skip
    words.update({key: value for key, value in rest.items() if value})
    return {
        "created": _date(steps[-1]["created_at"] if steps else 0.0),
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": words,
        "history": _history(steps, len(record["layers"])),
    }


def write(plan: Plan, sink: tar.Sink, told: Callable[[int, int], object]) -> None:
    """Write the archive. ``told``: how many bytes are done, of how many."""
    meter = _Meter(plan["size"], told)
    layers = [_measured(Path(folder), meter) for folder in plan["layers"]]
    meter.of = meter.done + sum(layer.size for layer in layers)
    text = {**plan["config"], "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]}}
    described, configured = _blob(text)
    manifest, manifested = _blob({
        "schemaVersion": 2, "mediaType": f"{_TYPE}.manifest.v1+json", "config": described.described("config.v1+json"),
        "layers": [layer.described("layer.v1.tar") for layer in layers],
    })  # fmt: skip
    names = {"org.opencontainers.image.ref.name": plan["reference"]}
    entry = {**manifest.described("manifest.v1+json"), "annotations": names}
    _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}), sink)
    _file("index.json", _json({"schemaVersion": 2, "manifests": [entry]}), sink)
    _file(_place(manifest), manifested, sink)
    _file(_place(described), configured, sink)
    for layer, folder in dict(zip(layers, plan["layers"], strict=True)).items():
        sink(tar.header(tar.Head(_place(layer).encode(), size=layer.size)))
        tar.layer(Path(folder), meter.through(sink))
        sink(tar.padding(layer.size))
    sink(bytes(1024))
    told(meter.of, meter.of)


class _Meter:
    """Counts what passes, and tells now and then."""

    def __init__(self, size: int, told: Callable[[int, int], object]) -> None:
        self.done, self.of = 0, 2 * size
        self._told = told
        self._next = 0.0

    def through(self, sink: tar.Sink) -> tar.Sink:
        def count(data: bytes) -> None:
            sink(data)
            self.done += len(data)
            if (now := time.monotonic()) >= self._next:
                self._next = now + _EVERY
                self._told(self.done, max(self.of, self.done))

        return count


def _measured(folder: Path, meter: _Meter) -> _Blob:
    digest, before = hashlib.sha256(), meter.done
    tar.layer(folder, meter.through(digest.update))
    return _Blob(f"sha256:{digest.hexdigest()}", meter.done - before)


def _history(steps: Sequence[upkeep.ExportStep], layers: int) -> list[dict[str, Any]]:
    """One entry a layer, and one for each step that added none."""
    if sum(step["layers"] for step in steps) != layers:
        return [{"created_by": "windlass"} for _ in range(layers)]
    entries: list[dict[str, Any]] = []
    for step in steps:
        entry = {"created": _date(step["created_at"]), "created_by": step["command"]}
        entries += [dict(entry) for _ in range(step["layers"])] or [{**entry, "empty_layer": True}]
    return entries


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _blob(value: Any) -> tuple[_Blob, bytes]:
    text = _json(value)
    return _Blob(f"sha256:{hashlib.sha256(text).hexdigest()}", len(text)), text


def _place(blob: _Blob) -> str:
    return "blobs/" + blob.digest.replace(":", "/")


def _file(name: str, text: bytes, sink: tar.Sink) -> None:
    sink(tar.header(tar.Head(name.encode(), size=len(text))) + text + tar.padding(len(text)))


def _say(words: Iterable[tuple[str, Any]]) -> None:
    sys.stderr.write(json.dumps(dict(words)) + "\n")
    sys.stderr.flush()


def main() -> None:
    plan: Plan = json.load(sys.stdin)
    out = os.fdopen(1, "wb", buffering=1024 * 1024)
    try:
        write(plan, out.write, lambda done, of: _say([("done", done), ("of", of)]))
        out.flush()
    except (exception.Error, OSError) as exc:
        _say([("error", str(exc)), ("hint", getattr(exc, "hint", ""))])
        os._exit(1)  # whoever read has gone, or must not take the rest for an archive


if __name__ == "__main__":
    main()
