"""Makes one layer: a recipe on top of its parent.

    read parent → draft → bootstrap, or commands one after the other in a container → publish by rename

Steps that change only settings (env, workdir, …) make no container: the image is its parent's layers with other words.
A step that fails, is stopped or takes too long leaves nothing.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import outside, spec, step, userns
from windlass.worker.images import (
    base,
    cache,
    contents,
    glibc,
    python,
    registry,
    script,
    settings,
    skopeo,
    slim,
    sources,
    stack,
    standalone,
)  # fmt: skip

Log = Callable[[str], None]

_TIMEOUT = 3600.0  # seconds of one step, where the recipe says nothing
_ANSWER = 30.0  # seconds for a Python to say its version
_OF_UV = "libgcc_s.so.1"  # what it needs of an image beside the C library
_LONGEST_LINE = 4096  # characters that wait for their line's end
_NOISE = ("mount: ", "dmesg(1) may")  # mmdebstrap does without a mount that a user namespace refuses
_SKOPEO_NOISE = ("Getting image source", "Storing signatures", "Writing manifest")
_FOUND = frozenset({"registry", "scratch"})  # bases that are not made on this machine
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
        environ: the environment of the machine's user, for index settings.
    """

    def __init__(
        self,
        home: Path,
        *,
        steps: step.Steps,
        mounts: Trees,
        namespace: Path,
        outer: outside.Outside,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._home = home
        self._layers = cache.Layers(home)
        self._steps = steps
        self._mounts = mounts
        self._namespace = namespace
        self._outer = outer
        self._environ = environ
        self._slim = slim.Slim(environ)
        self._pythons = standalone.Pythons(home, namespace=namespace, outer=outer, environ=environ)

    async def sweep(self) -> None:
        """Remove what a killed worker left half-made. Call before the first build."""
        await self._layers.sweep()
        await self._pythons.sweep()

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
                    with Lines(log, without=_SKOPEO_NOISE) as lines:
                        record = await self._find(plan, draft, lines)
                else:
                    with Lines(log, without=_NOISE if recipe.get("op") in ("base", "python") else ()) as lines:
                        held = await self._make(plan, parent, draft, lines)
                    record = await _grown(held, image_id, draft)
                record = await self._with_python(record, image_id, draft)
                if recipe.get("base") == "debian_slim":
                    slim.check(record, recipe.get("python", ""))
                await self._layers.publish(image_id, draft, record)
        except exception.Error as exc:
            raise exception.ImageBuildError(f"{exc} ({exc.hint})" if exc.hint else str(exc)) from exc
        except OSError as exc:
            raise exception.ImageBuildError(f"this machine could not store the layer: {exc}") from exc
        return _meta(record)

    async def _make(
        self, plan: workers.BuildPlan, parent: cache.Record | None, draft: cache.Draft, log: Log
    ) -> cache.Record:
        """Fill the draft, and give the record that it stands on."""
        recipe = plan["recipe"]
        host = await asyncio.to_thread(self._settings)
        if recipe.get("op") == "base":
            parent = await self._slim_base(recipe, draft, host, log)
            if parent is None:
                await self._bootstrap(recipe, draft, host, log)
                return slim.empty()
        held = _needed(parent)
        if recipe.get("op") == "python":
            return await self._add_python(recipe, held, draft, host, log)
        env = script.environment(
            host=host.env, image=held["env"], recipe=recipe, secrets=plan["secrets"], path=spec.PATH
        )
        binds = [*host.binds, *await self._extra(recipe, draft)]
        files = [self._layers.files(layer) for layer in held["layers"]]
        has_uv = (self._tools / "uv").exists() and glibc.has(files, _OF_UV)  # else pip does the work
        upper = draft.tree()
        if recipe.get("op") == "copy" and not stack.exists(files, "bin/sh"):
            await self._copy(plan, upper, log)
            return held
        commands = slim.commands() if recipe.get("op") == "base" else script.commands(
            recipe, shell=held.get("shell", []), has_uv=has_uv, python=held.get("program", python.NAMES[0])
        )  # fmt: skip
        _runnable(commands, files)
        for command in commands:
            await _checked(
                self._steps.run(
                    command.argv, lowers=files, upper=upper, env=env, cwd=held["workdir"] or "/", binds=binds,
                    log=log, timeout=recipe.get("timeout", _TIMEOUT),
                ),
                among=f", of `{command.shown}`" if len(commands) > 1 else "",
            )  # fmt: skip
        for leftover in (upper / "tmp").glob("uv-*.lock"):
            leftover.unlink()
        return held

    async def _copy(self, plan: workers.BuildPlan, upper: Path, log: Log) -> None:
        """Put local files into an image that has no program to do it."""
        tree = await self._mounts.tree(plan["recipe"].get("mount", ""))
        fitted = stack.lowers(self._home, plan["parent"] or "", [tree])[-1]
        line = ["cp", "-a", f"{fitted}/.", str(upper)]
        env = base.environment(settings.Settings({}, [], [], None), self._environ)
        await _checked(userns.run(line, namespace=self._namespace, env=env, log=log, timeout=_TIMEOUT, mount_ns=False))

    async def _find(self, plan: workers.BuildPlan, draft: cache.Draft, log: Log) -> cache.Record:
        """The record of a base that is not made here."""
        recipe = plan["recipe"]
        if recipe.get("base") == "scratch":
            return contents.described({}, layers=[], size=0)
        host = await asyncio.to_thread(self._settings)
        access = skopeo.Access(self._outer, self._environ, host, self._home, self._namespace)
        return await registry.pull(
            recipe.get("tag", ""), layers=self._layers, draft=draft, access=access, secrets=plan["secrets"] or None,
            log=log, timeout=recipe.get("timeout", _TIMEOUT),
        )  # fmt: skip

    async def _slim_base(
        self, recipe: images.Recipe, draft: cache.Draft, host: settings.Settings, log: Log
    ) -> cache.Record | None:
        """The image of a registry that ``debian_slim`` stands on; None where it is made here."""
        if recipe.get("base") != "debian_slim":
            raise exception.ImageBuildError(f"this worker does not know the base {recipe.get('base')!r}")
        access = skopeo.Access(self._outer, self._environ, host, self._home, self._namespace)
        return await self._slim.pulled(
            recipe.get("python", ""), layers=self._layers, draft=draft, access=access, log=log
        )

    async def _bootstrap(self, recipe: images.Recipe, draft: cache.Draft, host: settings.Settings, log: Log) -> None:
        python, texts = recipe.get("python", ""), await asyncio.to_thread(sources.machine_sources)
        try:
            release = base.release(python, sources.mirrors(texts))
        except exception.ImageBuildError as exc:
            raise slim.impossible(python, self._slim.why_not(python), exc) from exc
        finish = draft.aside() / "finish"
        finish.write_text(base.finishing(release, uv=self._tools / "uv"))
        finish.chmod(0o755)
        line = base.command(draft.tree(), release, apt=base.apt_options(host), finish=finish)
        log(f"Making debian_slim with Python {python} from {release.mirror.main}, {release.suite}\n")
        run = userns.run(
            line, namespace=self._namespace, env=base.environment(host, self._environ), log=log,
            timeout=recipe.get("timeout", _TIMEOUT),
        )  # fmt: skip
        await _checked(run)

    async def _add_python(
        self, recipe: images.Recipe, held: cache.Record, draft: cache.Draft, host: settings.Settings, log: Log
    ) -> cache.Record:
        """Put one into ``/usr/local``, and before any other in the PATH."""
        series, texts = recipe.get("python", ""), await asyncio.to_thread(sources.machine_sources)
        layers = [self._layers.files(layer) for layer in held["layers"]]
        tree = await self._pythons.tree(series, host=host, mirrors=sources.mirrors(texts), log=log)
        standalone.check(tree, series, layers)
        await asyncio.to_thread(standalone.place, tree, series, layers, draft.tree())
        if python.of(held, [*layers, draft.files]).version == series:
            return held
        path = f"{standalone.PREFIX / 'bin'}:{held['env'].get('PATH', spec.PATH)}"
        return {**held, "env": {**held["env"], "PATH": path}}

    async def _with_python(self, record: cache.Record, image_id: str, draft: cache.Draft) -> cache.Record:
        """The record with the Python that the image has now, whatever the step did."""
        layers = [draft.files if layer == image_id else self._layers.files(layer) for layer in record["layers"]]

        async def run(argv: list[str]) -> str:
            said: list[str] = []
            upper = draft.aside() / "asked"
            upper.mkdir()
            env = {"HOME": "/root", "PATH": spec.PATH, **record["env"]}
            with contextlib.suppress(exception.TimeoutError):
                await self._steps.run(argv, lowers=layers, upper=upper, env=env, log=said.append, timeout=_ANSWER)
            return "".join(said)

        return await python.described(record, layers, run)

    async def _extra(self, recipe: images.Recipe, draft: cache.Draft) -> Sequence[spec.Bind]:
        if recipe.get("op") == "copy":
            return [spec.Bind(await self._mounts.tree(recipe.get("mount", "")), script.TREE)]
        if not recipe.get("requirements"):
            return []
        folder = draft.aside()
        for name, text in script.files(recipe).items():
            (folder / name).write_text(text)
        return [spec.Bind(folder, script.REQUIREMENTS)]

    @property
    def _tools(self) -> Path:
        return self._home / "build"

    def _settings(self) -> settings.Settings:
        self._tools.mkdir(parents=True, exist_ok=True)
        self._tools.chmod(0o755)
        settings.stage_uv(self._tools)
        pip = settings.pip_config(self._environ)
        return settings.read(self._tools, self._environ, pip=pip, apt=settings.apt_config())


class Lines:
    """Passes output on in whole lines, however it arrives; leaving the block passes on the rest."""

    def __init__(self, log: Log, *, without: tuple[str, ...] = ()) -> None:
        self._log = log
        self._without = without
        self._rest = ""

    def __call__(self, text: str) -> None:
        whole, newline, rest = (self._rest + text).rpartition("\n")
        self._rest = rest
        if newline:
            kept = [line for line in whole.split("\n") if not line.lstrip().startswith(self._without)]
            if kept:
                self._log("\n".join(kept) + "\n")
        if len(rest) > _LONGEST_LINE:
            self._rest = ""
            self._log(rest)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rest:
            self._log(self._rest + "\n")


async def _checked(running: Awaitable[int], among: str = "") -> None:
    """Await a step's exit code and raise what is not success. The server adds the step and the log's end."""
    try:
        code = await running
    except exception.TimeoutError as exc:
        raise exception.ImageBuildError(f"{exc}{among}") from None
    if code:
        raise exception.ImageBuildError(f"exit code {code}{among}")


async def _grown(held: cache.Record, image_id: str, draft: cache.Draft) -> cache.Record:
    """The record of an image with one more layer."""
    return {**held, "layers": [*held["layers"], image_id], "size": await cache.size(draft.files)}


def _runnable(commands: Sequence[script.Command], files: Sequence[Path]) -> None:
    """Say clearly what an image lacks, where that is the program that shall run all others."""
    program = commands[0].argv[0] if commands else ""
    if program.startswith("/") and not program.startswith("/__windlass/") and not stack.exists(files, program[1:]):
        raise exception.ImageBuildError(
            f"the image has no {program}, which would have to do this" if files else "the image is empty",
            hint="Begin with a base that has a shell; without one, files and settings can still be added.",
        )


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
