"""Makes one layer: a recipe on top of its parent.

    read parent → draft → bootstrap, or commands one after the other in a container → publish by rename

Steps that change only settings (env, workdir, …) make no container: the image is its parent's layers with other words.
A step that fails, is stopped or takes too long leaves nothing.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import outside, programs, spec, step, userns
from windlass.worker.images import (
    archives,
    base,
    cache,
    contents,
    machine,
    output,
    reasons,
    registry,
    relay,
    script,
    skopeo,
    space,
    stack,
)

Log = Callable[[str], None]

_TIMEOUT = 3600.0  # seconds of one step, where the recipe says nothing
_NOISE = ("mount: ", "dmesg(1) may")  # mmdebstrap does without a mount that a user namespace refuses
_SKOPEO_NOISE = ("Getting image source", "Storing signatures", "Writing manifest")
_FOUND = frozenset({"registry", "scratch"})  # bases that are not made on this machine
_FROM_INDEXES = frozenset({"pip", "uv_pip"})
_METADATA = frozenset({"env", "workdir", "entrypoint", "cmd", "shell"})


class Trees(Protocol):
    """Materialised mount manifests (``worker.mounts.Mounts``)."""

    async def tree(self, digest: str) -> Path:
        """The folder with the files of manifest ``digest``."""


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
        environ: the environment of the machine's user, for index settings.
    """

    def __init__(
        self, home: Path, *, steps: step.Steps, mounts: Trees, namespace: Path, outer: outside.Outside,
        relays: relay.Relays, own: Path, environ: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        self._home = home
        self._layers = cache.Layers(home)
        self._steps = steps
        self._mounts = mounts
        self._namespace = namespace
        self._outer = outer
        self._relays = relays
        self._own = own
        self._environ = environ

    async def sweep(self) -> None:
        """Remove what a killed worker left half-made. Call before the first build."""
        await self._layers.sweep()

    async def build(self, plan: workers.BuildPlan, log: Log) -> workers.ImageMeta:
        """Make the layer of ``plan``. Raises ``ImageBuildError`` with the reason, the hint included."""
        image_id, recipe = plan["image_id"], plan["recipe"]
        if image_id in self._layers.known():
            return _meta(self._layers.read(image_id))
        try:
            parent = self._layers.read(plan["parent"]) if plan["parent"] else None
            async with self._layers.draft() as draft:
                if recipe.get("op") in _METADATA:
                    record = _described(_needed(parent), recipe)
                elif recipe.get("op") == "base" and recipe.get("base") in _FOUND:
                    with output.Lines(log, without=_SKOPEO_NOISE) as lines:
                        host = await self._host()
                        record = await space.guarded(self._find(plan, draft, host, lines), self._home)
                else:
                    with output.Lines(log, without=_NOISE if recipe.get("op") == "base" else ()) as lines:
                        host = await self._host()
                        async with self._relays.open(host.loopback(), lines):
                            await space.guarded(self._make(plan, parent, draft, host, lines), self._home)
                    record = await _grown(parent, recipe, image_id, draft)
                await self._layers.publish(image_id, draft, record)
        except exception.Error as exc:
            raise exception.ImageBuildError(f"{exc} ({exc.hint})" if exc.hint else str(exc)) from exc
        except OSError as exc:
            raise exception.ImageBuildError(f"this machine could not store the layer: {exc}") from exc
        return _meta(record)

    async def _make(
        self, plan: workers.BuildPlan, parent: cache.Record | None, draft: cache.Draft, host: machine.Host, log: Log
    ) -> None:
        recipe = plan["recipe"]
        if recipe.get("op") == "base":
            await self._bootstrap(recipe, draft, host, log)
            return
        held = _needed(parent)
        has_uv = (self._tools / "uv").exists()
        env = script.environment(
            host=host.settings.env, image=held["env"], recipe=recipe, secrets=plan["secrets"], path=spec.PATH
        )
        binds = [*host.settings.binds, *await self._extra(recipe, draft)]
        lowers = stack.lowers(self._home, plan["parent"] or "")
        files = [self._layers.files(layer) for layer in held["layers"]]
        lowers += archives.layer(files, host.mirrors, draft.aside() / "archives")
        upper = draft.tree()
        if recipe.get("op") == "copy" and not stack.exists(files, "bin/sh"):
            await self._copy(plan, upper, log)
            return
        commands = script.commands(recipe, shell=held.get("shell", []), has_uv=has_uv)
        _runnable(commands, files)
        for command in commands:
            code = await self._steps.run(
                command.argv, lowers=lowers, upper=upper, env=env, cwd=held["workdir"] or "/", binds=binds,
                log=log, timeout=recipe.get("timeout", _TIMEOUT),
            )  # fmt: skip
            if code and recipe.get("op") in _FROM_INDEXES:
                for doubt in await reasons.doubts(recipe, env, bundle=host.settings.bundle):
                    log(f"Windlass finds: {doubt}\n")
            _check(code, among=f", of `{command.shown}`" if len(commands) > 1 else "")
        for leftover in (upper / "tmp").glob("uv-*.lock"):
            leftover.unlink()

    async def _copy(self, plan: workers.BuildPlan, upper: Path, log: Log) -> None:
        """Put local files into an image that has no program to do it."""
        tree = await self._mounts.tree(plan["recipe"].get("mount", ""))
        fitted = stack.lowers(self._home, plan["parent"] or "", [tree])[-1]
        line = ["cp", "-a", f"{fitted}/.", str(upper)]
        env = {"PATH": programs.PATH}
        _check(await userns.run(line, namespace=self._namespace, env=env, log=log, timeout=_TIMEOUT, mount_ns=False))

    async def _find(
        self, plan: workers.BuildPlan, draft: cache.Draft, host: machine.Host, log: Log
    ) -> cache.Record:
        """The record of a base that is not made here."""
        recipe = plan["recipe"]
        if recipe.get("base") == "scratch":
            return contents.described({}, layers=[], size=0)
        access = skopeo.Access(self._outer, host.environ, host.settings, self._home, self._namespace)
        record = await registry.pull(
            recipe.get("tag", ""), layers=self._layers, draft=draft, access=access, secrets=plan["secrets"] or None,
            log=log, timeout=recipe.get("timeout", _TIMEOUT),
        )  # fmt: skip
        return {**record, "python": _python_of(record)}

    async def _bootstrap(self, recipe: images.Recipe, draft: cache.Draft, host: machine.Host, log: Log) -> None:
        if recipe.get("base") != "debian_slim":
            raise exception.ImageBuildError(f"this worker does not know the base {recipe.get('base')!r}")
        python = recipe.get("python", "")
        release = base.release(python, host.mirrors)
        finish, options = draft.aside() / "finish", draft.aside() / "apt.conf"
        finish.write_text(base.finishing(release, uv=self._tools / "uv"))
        finish.chmod(0o755)
        options.write_text(base.apt_options(host.settings, folder=self._tools))
        line = base.command(draft.tree(), release, options=options, finish=finish)
        place = archives.open_address(release.mirror.main)
        log(f"Making debian_slim with Python {python} from {place}, {release.suite}\n")
        run = userns.run(
            line, namespace=self._namespace, env=base.environment(host.settings, self._environ), log=log,
            timeout=recipe.get("timeout", _TIMEOUT),
        )  # fmt: skip
        _check(await run)

    async def _extra(self, recipe: images.Recipe, draft: cache.Draft) -> Sequence[spec.Bind]:
        if recipe.get("op") == "copy":
            return [spec.Bind(await self._mounts.tree(recipe.get("mount", "")), script.TREE)]
        if not recipe.get("requirements"):
            return []
        folder = draft.aside()
        for number, text in enumerate(recipe["requirements"]):
            (folder / f"{number}.txt").write_text(text)
        return [spec.Bind(folder, script.REQUIREMENTS)]

    @property
    def _tools(self) -> Path:
        return self._home / "build"

    async def _host(self) -> machine.Host:
        return await asyncio.to_thread(machine.prepare, self._tools, self._own, self._environ)


def _check(code: int, among: str = "") -> None:
    """Raise what is not success. The server adds the step and the log's end."""
    if code:
        raise exception.ImageBuildError(f"exit code {code}{among}")


async def _grown(
    parent: cache.Record | None, recipe: images.Recipe, image_id: str, draft: cache.Draft
) -> cache.Record:
    """The record of an image with one more layer."""
    held: cache.Record = parent or {
        "layers": [], "env": {}, "workdir": "", "entrypoint": [], "python": recipe.get("python", ""), "size": 0
    }  # fmt: skip
    return {**held, "layers": [*held["layers"], image_id], "size": await cache.size(draft.files)}


def _runnable(commands: Sequence[script.Command], files: Sequence[Path]) -> None:
    """Say clearly what an image lacks, where that is the program that shall run all others."""
    program = commands[0].argv[0] if commands else ""
    if program.startswith("/") and not program.startswith("/__windlass/") and not stack.exists(files, program[1:]):
        raise exception.ImageBuildError(
            f"the image has no {program}, which would have to do this" if files else "the image is empty",
            hint="Begin with a base that has a shell; without one, files and settings can still be added.",
        )


def _python_of(record: cache.Record) -> str:
    """The Python of an image from a registry."""
    return ""


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
    return {**parent, "cmd": words, "size": 0}


def _needed(parent: cache.Record | None) -> cache.Record:
    if parent is None:
        raise exception.ImageBuildError("an image begins with a base such as debian_slim")
    return parent


def _meta(record: cache.Record) -> workers.ImageMeta:
    """What travels of a record."""
    meta: workers.ImageMeta = {
        "layers": record["layers"], "env": record["env"], "workdir": record["workdir"],
        "entrypoint": record["entrypoint"], "python": record["python"], "size": record["size"],
    }  # fmt: skip
    if "digest" in record:
        meta["digest"] = record["digest"]
    return meta
