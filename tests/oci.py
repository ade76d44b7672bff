"""Writes images as a registry knows them: layers as archives, a config, a manifest, in the folder layout of OCI."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_KIND = "application/vnd.oci.image"


def entry(name: str, data: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One member of an archive. ``data`` of None makes it a folder unless ``type`` says otherwise."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    info.mode = 0o755 if data is None else 0o644
    info.mtime = 1_600_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    if info.type == tarfile.REGTYPE:
        info.size = len(data or b"")
    return info, data or b""


def link(name: str, to: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=to)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """The bytes of an uncompressed layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return buffer.getvalue()


def diff_id(layer: bytes) -> str:
    return "sha256:" + hashlib.sha256(layer).hexdigest()


def layer(archive: bytes) -> str:
    """How this machine's store calls it."""
    return "sha-" + hashlib.sha256(archive).hexdigest()


def write(
    folder: Path,
    layers: Sequence[bytes],
    *,
    config: dict[str, Any] | None = None,
    architecture: str = "amd64",
    diff_ids: Sequence[str] = (),
) -> str:
    """Write an image into ``folder``, for ``skopeo copy oci:FOLDER:latest``; gives the digest of its manifest."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{_KIND}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    packed = [put(gzip.compress(each, 1, mtime=0), "layer.v1.tar+gzip") for each in layers]
    said = {
        "architecture": architecture, "os": "linux", "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids) or [diff_id(each) for each in layers]},
        "history": [{"created_by": f"layer {number}"} for number, _ in enumerate(layers)],
    }  # fmt: skip
    described = put(json.dumps(said).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{_KIND}.manifest.v1+json", "config": described, "layers": packed}
    top = put(json.dumps(manifest).encode(), "manifest.v1+json")
    named = {**top, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(top["digest"])
