"""What was fetched of an image: its layers and its settings, checked, then stored as layers of this machine.

Nothing in a fetched file is believed before it is checked: a registry may be anybody's.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception
from windlass.worker import step, userns
from windlass.worker.images import cache, unpack

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LARGEST = 16 * 1024 * 1024  # bytes of a manifest or config
_RESERVE = 512 * 1024 * 1024  # bytes of the disk that no layer may take
_TIMEOUT = 1800.0  # seconds to unpack one layer


class Layer(NamedTuple):
    """``digest``: the hex SHA-256 of the uncompressed archive that the image promises."""

    blob: Path
    digest: str

    @property
    def name(self) -> str:
        return f"sha-{self.digest}"


class Contents(NamedTuple):
    """``layers`` bottom first."""

    layers: tuple[Layer, ...]
    config: Mapping[str, Any]


def read(folder: Path, architecture: str, name: str) -> Contents:
    """What lies in ``folder``, where ``skopeo copy … dir:`` put it. Raises ``ImageBuildError`` where it is no image."""
    manifest = _json(folder / "manifest.json", name)
    if manifest.get("schemaVersion") != 2:
        raise exception.ImageBuildError(
            f"{name} has the image format of before 2017", hint="Push it again with a program of today."
        )
    document = _json(_blob(folder, manifest.get("config"), name), name)
    found = f"{document.get('os')}/{document.get('architecture')}"
    if found != f"linux/{architecture}":
        raise exception.ImageBuildError(
            f"{name} has no variant for linux/{architecture}: it is for {found}",
            hint="Choose an image that is built for this kind of machine.",
        )
    blobs, rootfs = manifest.get("layers"), document.get("rootfs")
    digests = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(blobs, list) or not isinstance(digests, list) or len(blobs) != len(digests):
        raise _broken(name, "its manifest and its config name different layers")
    pairs = zip(blobs, digests, strict=True)
    layers = tuple(Layer(_blob(folder, blob, name), _hex(digest, name)) for blob, digest in pairs)
    config = document.get("config") or {}
    if not isinstance(config, dict):
        raise _broken(name, "its config cannot be read")
    return Contents(layers, config)


async def store(found: Contents, layers: cache.Layers, *, namespace: Path | None, log: step.Log) -> cache.Record:
    """Unpack the layers that are not here, and give the record of the image. Raises ``ImageBuildError``."""
    kept: list[str] = []
    size = 0
    for number, layer in enumerate(found.layers, 1):
        record = layers.shared(layer.name)
        if record is None:
            log(f"Unpacking layer {number} of {len(found.layers)}\n")
            record = await _unpacked(layer, layers, namespace, log)
        size += record["size"]
        kept = [layer.name] if record["opaque"] else [*kept, layer.name]
    return described(found.config, layers=kept, size=size)


def described(config: Mapping[str, Any], *, layers: list[str], size: int) -> cache.Record:
    """The record of an image with these settings. Pure."""
    env = dict(pair.split("=", 1) for pair in _words(config, "Env") if "=" in pair)
    workdir, user = (value if isinstance(value := config.get(key), str) else "" for key in ("WorkingDir", "User"))
    record: cache.Record = {
        "layers": layers, "env": env, "workdir": f"/{workdir.lstrip('/')}" if workdir else "",
        "entrypoint": _words(config, "Entrypoint"), "python": "", "size": size,
    }  # fmt: skip
    if cmd := _words(config, "Cmd"):
        record["cmd"] = cmd
    if shell := _words(config, "Shell"):
        record["shell"] = shell
    if user:
        record["user"] = user
    return record


async def _unpacked(layer: Layer, layers: cache.Layers, namespace: Path | None, log: step.Log) -> cache.Shared:
    async with layers.draft() as draft:
        record = await _extract(layer, draft.tree(), namespace, log)
        await layers.publish(layer.name, draft, record)
    return record


async def _extract(layer: Layer, target: Path, namespace: Path | None, log: step.Log) -> cache.Shared:
    """Run ``unpack`` as a program: it holds nobody up, and can be ended."""
    limit = max(0, shutil.disk_usage(target).free - _RESERVE)
    argv = [sys.executable, "-m", unpack.__name__, str(target), layer.digest, str(limit), str(namespace or "")]
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"}
    lines: list[str] = []
    with layer.blob.open("rb") as archive:
        try:
            code = await userns.supervise(argv, env=env, log=lines.append, timeout=_TIMEOUT, stdin=archive.fileno())
        except exception.TimeoutError as exc:
            raise exception.ImageBuildError(f"unpacking a layer {exc}") from None
    *notes, last = [line.rstrip("\n") for line in lines] or [""]
    try:
        answer = json.loads(last)
    except ValueError:
        answer = {"error": f"the program that unpacks layers ended with code {code}: {' '.join([*notes, last])[-500:]}"}
    for note in notes:
        log(f"{note}\n")
    if "error" in answer:
        raise exception.ImageBuildError(f"layer sha256:{layer.digest} is refused: {answer['error']}")
    return {"size": await cache.size(target), "opaque": bool(answer["opaque"])}


def _words(config: Mapping[str, Any], key: str) -> list[str]:
    value = config.get(key)
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _hex(digest: object, name: str) -> str:
    found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if found is None:
        raise _broken(name, f"{str(digest)[:100]!r} is no digest")
    return found[1]


def _blob(folder: Path, described: object, name: str) -> Path:
    """The file of a blob that the manifest names. A digest is a safe name for a file."""
    return folder / _hex(described.get("digest") if isinstance(described, dict) else None, name)


def _json(file: Path, name: str) -> dict[str, Any]:
    try:
        if file.stat().st_size > _LARGEST:
            raise _broken(name, "its description is too large")
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError, FileNotFoundError):
        raise _broken(name, "its description cannot be read") from None
    if not isinstance(found, dict):
        raise _broken(name, "its description cannot be read")
    return found


def _broken(name: str, why: str) -> exception.ImageBuildError:
    return exception.ImageBuildError(f"{name} is broken: {why}", hint="Push the image again.")
