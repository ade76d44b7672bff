"""Makes one layer: a recipe on top of its parent.

    read parent → draft → bootstrap, or commands one after the other in a container → publish by rename

Steps that change only settings (env, workdir, …) make no container: the image is its parent's layers with other words.
A step that fails, is stopped or takes too long leaves nothing.
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import spec, step, userns
from windlass.worker.images import base, cache, pins, script, settings, sources, stack

Log = Callable[[str], None]

_TIMEOUT = 3600.0  # seconds of one step, where the recipe says nothing
_LONGEST_LINE = 4096  # characters that wait for their line's end
_NOISE = ("mount: ", "dmesg(1) may")  # mmdebstrap does without a mount that a user namespace refuses
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
        environ: the environment of the machine's user, for index settings.
    """

    def __init__(
        self, home: Path, *, steps: step.Steps, mounts: Trees, namespace: Path, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._home = home
        self._layers = cache.Layers(home)
        self._steps = steps
        self._mounts = mounts
        self._namespace = namespace
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
                else:
                    with Lines(log, without=_NOISE if recipe.get("op") == "base" else ()) as lines:
                        await self._make(plan, parent, draft, lines)
                    record = await _grown(parent, recipe, image_id, draft)
                await self._layers.publish(image_id, draft, record)
        except exception.Error as exc:
            raise exception.ImageBuildError(f"{exc} ({exc.hint})" if exc.hint else str(exc)) from exc
        except OSError as exc:
            raise exception.ImageBuildError(f"this machine could not store the layer: {exc}") from exc
        return _meta(record)

    async def _make(self, plan: workers.BuildPlan, parent: cache.Record | None, draft: cache.Draft, log: Log) -> None:
        recipe = plan["recipe"]
        host = await asyncio.to_thread(self._settings)
        if recipe.get("op") == "base":
            await self._bootstrap(recipe, draft, host, log)
            return
        held = _needed(parent)
        has_uv = (self._tools / "uv").exists()
        env = script.environment(
            host=host.env, image=held["env"], recipe=recipe, secrets=plan["secrets"], path=spec.PATH
        )
        binds = [*host.binds, *await self._extra(recipe, draft)]
        if "pins" in recipe:
            env |= pins.environment()
            binds.append(spec.Bind(draft.aside("pins"), pins.PLACE))
            pins.write(draft.aside("pins"), recipe["pins"], apt=host.apt)
        lowers = stack.lowers(self._home, plan["parent"] or "")
        upper = draft.tree()
        commands = script.commands(recipe, shell=held.get("shell", []), has_uv=has_uv)
        for command in commands:
            await _checked(
                self._steps.run(
                    command.argv, lowers=lowers, upper=upper, env=env, cwd=held["workdir"] or "/", binds=binds,
                    log=log, timeout=recipe.get("timeout", _TIMEOUT),
                ),
                among=f", of `{command.shown}`" if len(commands) > 1 else "",
            )  # fmt: skip
        for leftover in (upper / "tmp").glob("uv-*.lock"):
            leftover.unlink()

    async def _bootstrap(self, recipe: images.Recipe, draft: cache.Draft, host: settings.Settings, log: Log) -> None:
        if recipe.get("base") != "debian_slim":
            raise exception.ImageBuildError(f"this worker does not know the base {recipe.get('base')!r}")
        python, texts = recipe.get("python", ""), await asyncio.to_thread(sources.machine_sources)
        release = base.release(python, sources.mirrors(texts))
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


async def _grown(
    parent: cache.Record | None, recipe: images.Recipe, image_id: str, draft: cache.Draft
) -> cache.Record:
    """The record of an image with one more layer."""
    held: cache.Record = parent or {
        "layers": [], "env": {}, "workdir": "", "entrypoint": [], "python": recipe.get("python", ""), "size": 0
    }  # fmt: skip
    return {**held, "layers": [*held["layers"], image_id], "size": await cache.size(draft.files)}


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
    return {
        "layers": record["layers"], "env": record["env"], "workdir": record["workdir"],
        "entrypoint": record["entrypoint"], "python": record["python"], "size": record["size"],
    }  # fmt: skip
