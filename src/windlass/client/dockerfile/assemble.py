"""From stages to recipes: the stages that the last one needs come into being side by side.

A stage that another one only continues is a part of its chain; one that files are copied from is built as an image of
its own, whose id the copying recipe names.
"""
from __future__ import annotations

import asyncio
from typing import NamedTuple

from windlass import exception
from windlass.client.dockerfile import scope, stages, writer
from windlass.kit import tasks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from windlass.client import imaging
    from windlass.client.dockerfile import instructions
    from windlass.wire.messages import images


class _Written(NamedTuple):
    recipes: list[images.Recipe]
    scope: scope.Scope


async def whole(
    file: stages.File, given: writer.Given, around: imaging.Around, *, registry_secret: str = ""
) -> list[images.Recipe]:
    """The recipes of a Dockerfile's last stage. Raises ``ImageBuildError`` that shows the line."""
    needed = file.needed()
    named = [origin for stage in file.stages for origin in (stage.base, *stage.origins.values())]
    if registry_secret and (len(file.stages) > 1 or len(named) > 1):
        raise exception.InvalidError(
            "registry_secret is for Dockerfiles of a single stage that name one image",
            hint="Build the other image by Image.from_registry, or make it public within your network.",
        )
    async with tasks.Tasks(lambda name, exc: None) as owner:
        maker = _Maker(file, given, around, registry_secret, owner)
        for number in needed:
            maker.start(number)
        for number in needed:
            await maker.stages[number]
        written = await maker.stages[needed[-1]]
        return written.recipes


async def more(
    found: list[instructions.Instruction], given: writer.Given, around: imaging.Around
) -> list[images.Recipe]:
    """The recipes of instructions that continue an image."""

    async def base() -> Mapping[str, str]:
        parent = await around.parent()
        return parent.env if parent is not None else {}

    async def origin(wanted: stages.Origin) -> str:
        return (await around.image([registry(str(wanted))])).image_id

    pen = writer.Writer(given, scope.Scope(base, outer={}, build_args=given.build_args), origin, around)
    for one in found:
        await pen.write(one, one.flag("from"))
    return pen.recipes


def registry(reference: str, secret: str = "") -> images.Recipe:
    """The recipe of a base image."""
    if reference.lower() == "scratch":
        return {"op": "base", "base": "scratch"}
    recipe: images.Recipe = {"op": "base", "base": "registry", "tag": reference}
    if secret:
        recipe["secrets"] = [secret]
    return recipe


class _Maker:
    """Starts a task for each stage, and for each image that is copied from."""

    def __init__(
        self, file: stages.File, given: writer.Given, around: imaging.Around, registry_secret: str, owner: tasks.Tasks
    ) -> None:
        self.stages: dict[int, asyncio.Task[_Written]] = {}
        self._images: dict[stages.Origin, asyncio.Task[str]] = {}
        self._file = file
        self._given = given
        self._around = around
        self._registry_secret = registry_secret
        self._owner = owner

    def start(self, number: int) -> None:
        """Begin stage ``number``, when those that it needs are begun."""
        stage = self._file.stages[number]
        for origin in stage.origins.values():
            if origin not in self._images:
                self._images[origin] = self._owner.start(self._image(origin), f"image of {origin}")
        self.stages[number] = self._owner.start(self._stage(stage), f"stage {number}")

    async def _stage(self, stage: stages.Stage) -> _Written:
        recipes, own = await self._beginning(stage)

        async def origin(wanted: stages.Origin) -> str:
            return await asyncio.shield(self._images[wanted])

        pen = writer.Writer(self._given, own, origin, self._around, recipes)
        for one in stage.body:
            await pen.write(one, stage.origins.get(one.flag("from"), ""))
        return _Written(pen.recipes, own)

    async def _beginning(self, stage: stages.Stage) -> tuple[list[images.Recipe], scope.Scope]:
        if isinstance(stage.base, int):
            written = await asyncio.shield(self.stages[stage.base])
            return list(written.recipes), written.scope.child()
        recipe = self._given.forced(registry(stage.base, self._registry_secret))
        recipe["line"] = stage.start.line.place()

        async def base() -> Mapping[str, str]:
            return {} if recipe["base"] == "scratch" else (await self._around.image([recipe])).env

        return [recipe], scope.Scope(base, outer=self._file.args, build_args=self._given.build_args)

    async def _image(self, origin: stages.Origin) -> str:
        if isinstance(origin, int):
            recipes = (await asyncio.shield(self.stages[origin])).recipes
        else:
            recipes = [registry(origin)]
        return (await self._around.image(recipes)).image_id
