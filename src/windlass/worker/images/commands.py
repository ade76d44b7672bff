"""Steps that run something: programs of the image, one after the other, in a container on its layers."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from windlass import exception
from windlass.wire.messages import images
from windlass.worker import gpus, spec
from windlass.worker.images import (
    archives,
    cache,
    function,
    glibc,
    making,
    pins,
    python,
    reasons,
    running,
    script,
    slim,
    stack,
)

_FROM_INDEXES = frozenset({"pip", "uv_pip", "private_pip"})
_OF_UV = "libgcc_s.so.1"  # what it needs of an image beside the C library


async def make(shop: making.Shop, job: making.Job) -> cache.Record:
    """The record of the image with what the step changed. Raises ``ImageBuildError`` with the reason."""
    if job.op == "function":
        function.check(job.recipe, job.held["python"])
    await run(shop, job, job.held)
    return making.grown(job.held, job)


async def run(shop: making.Shop, job: making.Job, held: cache.Record) -> None:
    """Run the step on the layers of ``held``; what it changes stays in the draft."""
    recipe, host = job.recipe, job.host
    files = making.files(shop, held)
    sources = await _sources(shop, recipe)
    lowers = stack.lowers(shop.home, job.plan["parent"], sources) if job.plan["parent"] else list(files)
    lowers += archives.layer(files, host.mirrors, job.draft.folder / "aside" / "archives")
    user = running.user(recipe, held, files)
    env = script.environment(
        host=host.settings.env, image=held["env"], recipe=recipe, secrets=job.plan["secrets"], path=spec.PATH,
        home=user.home,
    )  # fmt: skip
    binds = [*host.settings.binds, *await running.binds(
        recipe, job.draft, workdir=held["workdir"], user=user, trees=shop.mounts
    )]  # fmt: skip
    binds += await asyncio.to_thread(_function, shop, job)
    devices = job.plan.get("gpus", [])
    env, binds = gpus.environment(env, devices), [*binds, *shop.gpus.binds(devices)]
    if "pins" in recipe:
        env |= pins.environment()
        binds.append(spec.Bind(job.draft.aside("pins"), pins.PLACE))
        pins.write(job.draft.aside("pins"), recipe["pins"], apt=host.settings.apt)
    upper = job.draft.tree()
    chosen = _commands(shop, job, held, files)
    _runnable(chosen, files)
    async with shop.mounted(job.plan) as theirs:
        for command in chosen:
            code = await shop.steps.run(
                command.argv, lowers=lowers, upper=upper, env=env, cwd=_cwd(held, recipe), binds=[*binds, *theirs],
                log=job.log, timeout=job.timeout, memory=function.memory(recipe), cpus=function.cpus(recipe), user=user,
            )  # fmt: skip
            if code and job.op in _FROM_INDEXES:
                for doubt in await reasons.doubts(recipe, env, bundle=host.settings.bundle):
                    job.log(f"Windlass finds: {doubt}\n")
            making.check(code, among=f", of `{command.shown}`" if len(chosen) > 1 else "")
    _tidy(job, upper, files)


def _commands(
    shop: making.Shop, job: making.Job, held: cache.Record, files: Sequence[Path]
) -> list[script.Command]:
    if job.op == "base":
        return slim.commands()
    return script.commands(  # where uv cannot run, pip does the work
        job.recipe,
        shell=held.get("shell", []),
        has_uv=(shop.tools / "uv").exists() and glibc.has(files, _OF_UV) and stack.exists(files, "bin/sh"),
        python=held.get("program") or python.NAMES[0],
        variables=[*held["env"], *job.recipe.get("env", {}), *job.plan["secrets"]],
    )


def _runnable(chosen: Sequence[script.Command], files: Sequence[Path]) -> None:
    """Say clearly what an image lacks, where that is the program that shall run all others."""
    program = chosen[0].argv[0] if chosen else ""
    if program.startswith("/") and not program.startswith("/__windlass/") and not stack.exists(files, program[1:]):
        raise exception.ImageBuildError(
            f"the image has no {program}, which would have to do this" if files else "the image is empty",
            hint="Begin with a base that has a shell; without one, files and settings can still be added.",
        )


async def _sources(shop: making.Shop, recipe: images.Recipe) -> list[Path]:
    """Local files of the caller that a step sees and the layer does not hold."""
    code = recipe.get("function")
    return [await shop.mounts.tree(digest) for digest in code["mounts"]] if code else []


def _function(shop: making.Shop, job: making.Job) -> list[spec.Bind]:
    code = job.recipe.get("function")
    if not code:
        return []
    folder = job.draft.aside("function")
    function.prepare(code, folder, shop.mounts.blob)
    return [spec.Bind(folder, function.STEP), spec.Bind(shop.library, spec.LIBRARY)]


def _cwd(held: cache.Record, recipe: images.Recipe) -> str:
    return held["workdir"] or (function.HOME if recipe.get("op") == "function" else "/")


def _tidy(job: making.Job, upper: Path, files: Sequence[Path]) -> None:
    """Take away what tools left of themselves."""
    if job.op == "function":
        function.settle(upper, files)
    if not (upper / "tmp").is_symlink():  # a step may have made it lead anywhere
        for leftover in (upper / "tmp").glob("uv-*.lock"):
            leftover.unlink()
