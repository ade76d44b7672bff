"""The way of an image from its description to the server: files up, recipes out, build log back."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast

from windlass import config, exception
from windlass.client import lock, recipes, resolver, volumes
from windlass.client import session as sessions
from windlass.kit import ids
from windlass.wire.messages import built, images


class Built(NamedTuple):
    """``python``: "3.11", or "" where the image has none. ``env``, ``workdir``: what a next step begins with."""

    image_id: str
    python: str
    env: dict[str, str]
    workdir: str
    chain: list[str]  # the image after each step


class Around:
    """What a step may ask while it becomes recipes: the steps before it, built if need be."""

    def __init__(self, context: resolver.Context) -> None:
        self.context = context
        self.chain: list[images.Recipe] = []

    async def parent(self) -> Built | None:
        """The image that the step stands on; None for a base."""
        return await self.image(self.chain) if self.chain else None

    async def image(self, chain: Sequence[images.Recipe]) -> Built:
        """Another image, built if need be."""
        return await _built(list(chain), self.context)

    def note(self, chain: Sequence[images.Recipe], text: str) -> None:
        """A line in the log of the image that ``chain`` makes."""
        self.context.output.image_log(_name(chain), f"{text}\n")


async def build(steps: Sequence[recipes.Step], *, misplaced: str, context: resolver.Context) -> Built:
    """Have the server build what it does not know yet.

    Raises ``ImageBuildError`` with the failing command, ``InvalidError`` where a step stands behind attached files.
    """
    if misplaced:
        raise exception.InvalidError(
            f"the build step {misplaced!r} follows local files that are attached only when a container starts",
            hint="Move add_local_* to the end of the image, or pass copy=True to make the files part of the image.",
        )
    around = Around(context)
    for step in steps:
        around.chain += await _resolved(step, around)
    return await _built(around.chain, context)


async def _built(chain: list[images.Recipe], context: resolver.Context) -> Built:
    keeper = lock.current()
    if keeper is None:
        return await _plain(chain, context)
    return await keeper.build(chain, lambda changed: _plain(changed, context), context.session)


async def _plain(chain: list[images.Recipe], context: resolver.Context) -> Built:
    if len(chain) == 1 and chain[0].get("base") == "image":
        return await _found(chain[0].get("image", ""), context)
    name = _name(chain)
    body = _request(chain, context)
    patience = sessions.Patience()
    while True:
        try:
            return await _follow(body, name=name, context=context)
        except exception.ImageBuildError as exc:
            exc.image_id = next((word for word in str(exc).split() if ids.is_id(word, "im")), None)
            raise
        except exception.ServiceError as exc:
            # The server was restarted: asking again joins the build, or finds it done.
            await patience.wait(exc)


async def _found(image_id: str, context: resolver.Context) -> Built:
    """An image that exists: a question, also from inside of containers, where nothing is built."""
    found: built.ImageFound = (await context.session.request("image.get", {"image_id": image_id})).body
    return Built(found["image_id"], found["python"], found["env"], found["workdir"], [found["image_id"]])


def _request(chain: list[images.Recipe], context: resolver.Context) -> images.ImageBuild:
    body: images.ImageBuild = {"recipes": chain, "app_id": context.app_id}
    if config.config["force_build"]:  # of the base, and so of all that stands on it
        body["recipes"] = [{**chain[0], "force": True}, *chain[1:]]
    if config.config["ignore_cache"]:
        body["ignore_cache"] = True
    if version := config.config["image_builder_version"]:
        body["builder_version"] = version
    return body


async def _follow(body: images.ImageBuild, *, name: str, context: resolver.Context) -> Built:
    async for item in context.session.stream("image.build", body):
        event = cast(images.BuildEvent, item.body)
        if event["kind"] == "step":
            context.output.image_step(name, event["step"], event["steps"], event.get("command", ""))
        elif event["kind"] == "log":
            context.output.image_log(name, event["text"])
        elif event["kind"] == "done":
            context.output.image_done(name, event["image_id"])
            return Built(
                event["image_id"], event.get("python", ""), event.get("env", {}), event.get("workdir", ""),
                event.get("chain", []),
            )  # fmt: skip
    raise exception.ServiceError("the build ended without a result")


async def _resolved(step: recipes.Step, around: Around) -> list[images.Recipe]:
    recipe = cast(images.Recipe, dict(step.recipe))
    if step.secrets:
        recipe["secrets"] = [secret.object_id for secret in step.secrets]
    if step.volumes:
        recipe["volumes"] = volumes.mounts(step.volumes)
    if step.shared:
        recipe["nfs"] = volumes.shares(step.shared)
    if step.expand is not None:
        del recipe["op"]
        found = [cast(images.Recipe, {**recipe, **expanded}) for expanded in await step.expand(around)]
        return [_with_gpus(one, step) for one in found]
    if step.requirements:
        recipe["requirements"] = [await asyncio.to_thread(recipes.requirements, path) for path in step.requirements]
    if step.mount is not None:
        recipe["mount"] = await step.mount.upload(around.context.session)
    return [_with_gpus(recipe, step)]


def _with_gpus(recipe: images.Recipe, step: recipes.Step) -> images.Recipe:
    """GPUs are for what runs programs of the image, also where a Dockerfile has other instructions beside."""
    if step.gpus and recipe["op"] in images.RUN:
        recipe["gpus"] = step.gpus
    return recipe


def _name(chain: Sequence[images.Recipe]) -> str:
    """How the image is called in this run: by its base and what was added."""
    packages = [package for recipe in chain for package in recipe.get("packages", ())]
    base = (chain[0].get("image") or chain[0].get("tag") or chain[0].get("base", "")) if chain else ""
    shown = ", ".join(packages[:3]) + (", …" if len(packages) > 3 else "")
    return f"{base} with {shown}" if shown else base
