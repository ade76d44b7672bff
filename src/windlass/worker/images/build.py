"""Makes one layer: a recipe on top of its parent.

    hold parent → draft → make (``making`` says who) → look for its Python → publish by rename

Steps that change only settings (env, workdir, …) make nothing: the image is its parent's layers with other words.
A step that fails, is stopped or takes too long leaves nothing.
"""
from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import gpus, outside, spec, step
from windlass.worker.images import (
    adding,
    bases,
    cache,
    commands,
    copying,
    holds,
    machine,
    making,
    output,
    python,
    relay,
    slim,
    space,
    stack,
    standalone,
)

_ANSWER = 30.0  # seconds for a Python to say its version
_METADATA = frozenset({"env", "workdir", "entrypoint", "cmd", "shell", "user"})


class Builder:
    """Makes layers below ``home``.

    Args:
        home: the home folder, by the name that every user inside the node can reach.
        steps: runs commands on layers.
        mounts: local files of callers.
        namespace: the user namespace mapped like a container's (``Node.userns``).
        outer: starts programs in the machine's own network.
        relays: to what listens on this machine's loopback.
        own: Windlass' own settings for builds (``configured``).
        library: what Python functions that run as a step may import (``Library.path``).
        mounted: volumes and network file systems of a step, for as long as it runs.
        devices: GPUs of this machine.
        held: where a build says which images it stands on.
        environ: the environment of the machine's user, for index settings.
    """

    def __init__(
        self, home: Path, *, steps: step.Steps, mounts: copying.Trees, namespace: Path, outer: outside.Outside,
        relays: relay.Relays, own: Path, mounted: making.Mounted, devices: gpus.Gpus, library: Path = Path("/"),
        held: holds.Holds | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        self._home = home
        self._layers = cache.Layers(home)
        self._relays = relays
        self._own = own
        self._held = held or holds.Holds()
        self._environ = environ
        self._shop = making.Shop(
            home=home, layers=self._layers, steps=steps, mounts=mounts, namespace=namespace, outer=outer,
            library=library, slim=slim.Slim(), pythons=standalone.Pythons(home, namespace=namespace, outer=outer),
            mounted=mounted, gpus=devices,
        )  # fmt: skip

    async def sweep(self) -> None:
        """Remove what a killed worker left half-made. Call before the first build."""
        await self._layers.sweep()
        await self._shop.pythons.sweep()

    async def build(self, plan: workers.BuildPlan, log: making.Log) -> workers.ImageMeta:
        """Make the layer of ``plan``. Raises ``ImageBuildError`` with the reason, the hint included."""
        with self._held.of_build(plan):
            if plan["image_id"] in self._layers.known():
                return _meta(self._layers.read(plan["image_id"]))
            try:
                return _meta(await self._built(plan, log))
            except exception.Error as exc:
                raise exception.ImageBuildError(f"{exc} ({exc.hint})" if exc.hint else str(exc)) from exc
            except OSError as exc:
                raise exception.ImageBuildError(_unstored(exc)) from exc

    async def _built(self, plan: workers.BuildPlan, log: making.Log) -> cache.Record:
        recipe = plan["recipe"]
        parent = self._layers.read(plan["parent"]) if plan["parent"] else None
        async with self._layers.draft() as draft:
            if recipe.get("op") in _METADATA:
                record = _described(making.needed(parent), recipe)
            else:
                with output.Lines(log, without=bases.NOISE if recipe.get("op") in ("base", "python") else ()) as lines:
                    host = await asyncio.to_thread(machine.prepare, self._shop.tools, self._own, self._environ)
                    lines.hide([*plan["secrets"].values(), *host.passwords()])
                    async with self._relays.open(host.loopback(), lines):
                        job = making.Job(plan, parent, draft, host, lines)
                        record = await space.guarded(self._make(job), self._home)
            record = await self._with_python(record, plan["image_id"], draft)
            if recipe.get("base") == "debian_slim":
                slim.check(record, recipe.get("python", ""))
            return await self._layers.publish(plan["image_id"], draft, record)

    async def _make(self, job: making.Job) -> cache.Record:
        if job.op == "base":
            return await bases.make(self._shop, job)
        if job.op == "python":
            return await adding.make(self._shop, job)
        if job.op not in copying.OPS:
            return await commands.make(self._shop, job)
        job.draft.tree()
        lowers = stack.lowers(self._home, job.plan["parent"] or "")
        target = copying.Target(self._home, lowers=lowers, workdir=job.held["workdir"], draft=job.draft)
        await copying.run(
            job.recipe, target, trees=self._shop.mounts, namespace=self._shop.namespace, host=job.host.settings,
            timeout=job.timeout,
        )  # fmt: skip
        return making.grown(job.held, job)

    async def _with_python(self, record: cache.Record, image_id: str, draft: cache.Draft) -> cache.Record:
        """The record with the Python that the image has now, whatever the step did."""
        layers = [draft.files if layer == image_id else self._layers.files(layer) for layer in record["layers"]]

        async def run(argv: list[str]) -> str:
            said: list[str] = []
            env = {"HOME": "/root", "PATH": spec.PATH, **record["env"]}
            with contextlib.suppress(exception.TimeoutError, exception.ResourceExhaustedError):
                await self._shop.steps.run(
                    argv, lowers=layers, upper=draft.aside("asked"), env=env, log=said.append, timeout=_ANSWER
                )
            return "".join(said)

        return await python.described(record, layers, run)


def _unstored(exc: OSError) -> str:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk of this machine is full: the layer was not stored "
            "(Free space; `windlass image prune` removes images that nothing uses.)"
        )
    return f"this machine could not store the layer: {exc}"


def _described(parent: cache.Record, recipe: images.Recipe) -> cache.Record:
    """The record of an image that differs from its parent in words only."""
    op, words = recipe.get("op"), recipe.get("commands", [])
    if op == "env":
        return {**parent, "env": {**parent["env"], **recipe.get("env", {})}, "size": 0}
    if op == "workdir":
        return {**parent, "workdir": os.path.join(parent["workdir"] or "/", recipe.get("path", "")), "size": 0}  # noqa: PTH118
    if op == "entrypoint":
        return {**parent, "entrypoint": words, "size": 0}
    if op == "shell":
        return {**parent, "shell": words, "size": 0}
    if op == "user":
        return {**parent, "user": recipe.get("user", ""), "size": 0}
    return {**parent, "cmd": words, "size": 0}


def _meta(record: cache.Record) -> workers.ImageMeta:
    """What travels of a record."""
    meta: workers.ImageMeta = {
        "layers": record["layers"], "env": record["env"], "workdir": record["workdir"],
        "entrypoint": record["entrypoint"], "python": record["python"], "size": record["size"],
    }  # fmt: skip
    if "digest" in record:
        meta["digest"] = record["digest"]
    return meta
