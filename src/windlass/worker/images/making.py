"""What makes layers: the collaborators of all makers, and one job for them.

    base      ``bases``      a registry's image, a Debian made here, nothing at all
    python    ``adding``     a Python put into /usr/local
    copy …    ``copying``    files put there, without a program of the image
    all else  ``commands``   programs of the image, run in a container on its layers
"""
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import gpus, outside, spec, step
from windlass.worker.images import cache, copying, machine, projects, skopeo, slim, standalone

Log = Callable[[str], None]
Mounted = Callable[[workers.BuildPlan], AbstractAsyncContextManager[list[spec.Bind]]]

_TIMEOUT = 3600.0  # seconds of one step, where the recipe says nothing


class Shop(NamedTuple):
    """Built once. ``namespace``: the user namespace mapped like a container's. ``library``: what functions import.
    ``mounted``: volumes and network file systems of a step, for as long as it runs. ``gpus``: of this machine."""

    home: Path
    layers: cache.Layers
    steps: step.Steps
    mounts: copying.Trees
    namespace: Path
    outer: outside.Outside
    library: Path
    slim: slim.Slim
    pythons: standalone.Pythons
    mounted: Mounted
    gpus: gpus.Gpus

    @property
    def tools(self) -> Path:
        """The folder that steps see with what this machine prepares for them."""
        return self.home / "build"


class Job(NamedTuple):
    """One layer to make. ``parent``: None for a base."""

    plan: workers.BuildPlan
    parent: cache.Record | None
    draft: cache.Draft
    host: machine.Host
    log: Log

    @property
    def recipe(self) -> images.Recipe:
        return self.plan["recipe"]

    @property
    def op(self) -> str:
        return self.recipe.get("op", "")

    @property
    def timeout(self) -> float:
        return self.recipe.get("timeout", _TIMEOUT)

    @property
    def held(self) -> cache.Record:
        """The image that the step stands on."""
        return needed(self.parent)


def needed(parent: cache.Record | None) -> cache.Record:
    if parent is None:
        raise exception.ImageBuildError("an image begins with a base such as debian_slim")
    return parent


def access(shop: Shop, job: Job) -> skopeo.Access:
    """The way to registries."""
    return skopeo.Access(shop.outer, job.host.environ, job.host.settings, shop.home, shop.namespace)


def files(shop: Shop, record: cache.Record) -> list[Path]:
    """The layers of an image, bottom first."""
    return [shop.layers.files(layer) for layer in record["layers"]]


def grown(held: cache.Record, job: Job) -> cache.Record:
    """The record of ``held`` with the layer that was made."""
    if job.op == "folder" and not any(job.draft.files.iterdir()):
        job.draft.files.rmdir()  # the folder was there: no layer is needed
        return {**held, "size": 0}
    env = {**held["env"], **projects.path(job.recipe, held["env"].get("PATH", spec.PATH))}
    return {**held, "layers": [*held["layers"], job.plan["image_id"]], "env": env}


def check(code: int, among: str = "") -> None:
    """Raise what is not success. The server adds the step and the log's end."""
    if code:
        raise exception.ImageBuildError(f"exit code {code}{among}")
