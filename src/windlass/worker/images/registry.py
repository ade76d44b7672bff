"""Images from registries: fetched by skopeo in the machine's own network, unpacked here, layer by layer.

    name ─► digest (what it means now) ─► blobs in a draft, unzipped ─► layers/sha-… ─► the record of an image
"""
from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

from windlass import exception
from windlass.worker import step
from windlass.worker.images import cache, contents, credentials, references, skopeo

_TIMEOUT = 3600.0  # seconds


async def pull(
    name: str,
    *,
    layers: cache.Layers,
    draft: cache.Draft,
    access: skopeo.Access,
    secrets: Mapping[str, str] | None = None,
    log: step.Log,
    timeout: float = _TIMEOUT,
) -> cache.Record:
    """Fetch the image ``name`` and give the record of an image made of it; layers that are here already stay.

    The record is not published: hand it to ``layers.publish(image_id, draft, record)`` or build on it.

    Args:
        name: as docker takes it: ``python:3.12-slim``, ``localhost:5000/team/app@sha256:…``.
        draft: where blobs lie meanwhile (in ``draft.aside()``).
        secrets: values of a registry secret (``wire.registries.kind`` tells which); None for what this machine's user
            has signed in to.
        log: told of the progress.
        timeout: seconds for all of it.

    Raises:
        skopeo.UnreachableError: no registry answered.
        ImageBuildError: the image is unknown, refused, broken, or not for this machine. The hint says what to do.
        InvalidError: the name, the secret's names or a setting make no sense.
    """
    try:
        return await asyncio.wait_for(_pull(name, layers, draft, access, secrets, log), timeout)
    except asyncio.TimeoutError:
        raise exception.ImageBuildError(f"the image {name} was not here within {timeout:g} s") from None


async def _pull(
    name: str,
    layers: cache.Layers,
    draft: cache.Draft,
    access: skopeo.Access,
    secrets: Mapping[str, str] | None,
    log: step.Log,
) -> cache.Record:
    reference, network = references.parse(name), references.network(access.environ)
    authfile = None if secrets is None else await credentials.authfile(reference, secrets, access)
    target = draft.aside() / "blobs"
    failures: list[exception.ImageBuildError] = []
    for place in network.places(reference):
        try:
            digest = await _fetch(place, target, access, network, authfile, log)
            break
        except exception.ImageBuildError as exc:
            failures.append(exc)
            if place != reference:
                log(f"{exc}\n")
            shutil.rmtree(target, ignore_errors=True)
    else:
        raise failures[-1]
    found = await asyncio.to_thread(contents.read, target, skopeo.ARCHITECTURE, str(reference))
    record = await contents.store(found, layers, namespace=access.namespace, log=log)
    return {**record, "digest": digest}


async def _fetch(
    place: references.Reference,
    target: Path,
    access: skopeo.Access,
    network: references.Network,
    authfile: bytes | None,
    log: step.Log,
) -> str:
    """Bring the image's blobs into ``target`` and return the digest of what the name means."""
    verify = f"--tls-verify={str(not network.trusts(place)).lower()}"
    digest = place.digest
    if not digest:
        asked = ["--no-tags", "--format={{.Digest}}", verify]
        said = await skopeo.run("inspect", asked, place, access=access, scratch=target.parent, authfile=authfile)
        digest = said.strip().rpartition("\n")[2]
        if not digest.startswith("sha256:"):
            raise exception.ImageBuildError(f"the registry gave no digest for {place}: {said.strip()[-300:]}")
    log(f"Pulling {place} ({digest})\n")
    pinned = place._replace(tag="", digest=digest)
    options = [f"--src-{verify[2:]}", "--dest-decompress"]
    await skopeo.run(
        "copy", options, pinned, f"dir:{target}", access=access, scratch=target.parent, authfile=authfile, log=log
    )
    return digest
