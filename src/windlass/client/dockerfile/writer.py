"""Writes the recipes of one stage, instruction by instruction."""
from __future__ import annotations

import asyncio
import posixpath
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from windlass.client import mount as mounts
from windlass.client.dockerfile import context, runs
from windlass.kit import wildcard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from windlass.client import imaging
    from windlass.client.dockerfile import instructions, scope, stages
    from windlass.wire.messages import images

_IGNORED = frozenset({"EXPOSE", "LABEL", "MAINTAINER"})
_SHELL = ("/bin/sh", "-c")
_HEREDOCS = ".windlass-heredocs"  # where the tree of a COPY holds what was written in the Dockerfile itself


class Given(NamedTuple):
    """What the caller said. ``secrets``: ids; ``env``: seen by commands only."""

    context: context.Context
    build_args: Mapping[str, str]
    env: Mapping[str, str]
    secrets: Sequence[str]
    force: bool

    def forced(self, recipe: images.Recipe) -> images.Recipe:
        """``recipe``, which is built anew where the caller wants that."""
        return {**recipe, "force": True} if self.force else recipe


class Writer:
    """``origin``: the id of the image that a ``--from`` means. ``recipes``: those that the stage begins with."""

    def __init__(
        self,
        given: Given,
        scope: scope.Scope,
        origin: Callable[[stages.Origin], Awaitable[str]],
        around: imaging.Around,
        recipes: Sequence[images.Recipe] = (),
    ) -> None:
        self.recipes = list(recipes)
        self._given = given
        self._scope = scope
        self._origin = origin
        self._around = around
        self._shell: tuple[str, ...] = _SHELL
        self._has_command = False
        self._place = ""

    async def write(self, one: instructions.Instruction, origin: stages.Origin) -> None:
        """Add what ``one`` means. ``origin``: where its ``--from`` leads, "" without one."""
        self._place = one.line.place()
        if one.name in _IGNORED:
            return
        if one.name == "HEALTHCHECK":
            self._around.note(self.recipes, f"{self._place}: HEALTHCHECK has no effect")
        elif one.name == "ARG":
            await self._scope.declare(one)
        elif one.name == "COPY":
            await self._copy(one, origin)
        elif one.name == "ADD":
            await self._add(one)
        elif one.name == "RUN":
            await self._run(one)
        else:
            await self._setting(one)

    def _put(self, recipe: images.Recipe) -> None:
        self.recipes.append(self._given.forced({**recipe, "line": self._place}))

    # -- settings --------------------------------------------------------------------------------------

    async def _setting(self, one: instructions.Instruction) -> None:
        if one.name == "ENV":
            found = {
                await self._scope.expand(one, name): await self._scope.expand(one, value) for name, value in one.pairs()
            }
            self._scope.env.update(found)
            self._put({"op": "env", "env": found})
        elif one.name in ("WORKDIR", "USER"):
            value = await self._scope.expand(one, one.rest)
            if not value:
                raise one.fault(f"{one.name} is empty: {one.rest} has no value")
            if one.name == "USER":
                self._put({"op": "user", "user": value})
                return
            self._put({"op": "folder", "path": value})
            self._put({"op": "workdir", "path": value})
        elif one.name == "SHELL":
            if not one.words:
                raise one.fault('SHELL takes a JSON list such as ["/bin/bash", "-c"]')
            self._shell = tuple(one.words)
            self._put({"op": "shell", "commands": one.words})
        else:
            self._command(one)

    def _command(self, one: instructions.Instruction) -> None:
        commands = [*self._shell, one.rest] if one.words is None else one.words
        self._put({"op": "cmd" if one.name == "CMD" else "entrypoint", "commands": commands})
        if one.name == "CMD":
            self._has_command = True
        elif not self._has_command:
            self._put({"op": "cmd", "commands": []})  # the base image's was meant for its own entrypoint

    # -- commands --------------------------------------------------------------------------------------

    async def _run(self, one: instructions.Instruction) -> None:
        recipe = runs.command(one)
        if env := {**self._scope.seen(), **self._given.env}:
            recipe["env"] = env
        if self._given.secrets:
            recipe["secrets"] = list(self._given.secrets)
        for text in one.flags.get("mount", ()):
            await self._mount(one, runs.mount(one, await self._scope.expand(one, text)), recipe)
        self._put(recipe)

    async def _mount(self, one: instructions.Instruction, mount: runs.Mount, recipe: images.Recipe) -> None:
        if not mount.is_bound:
            recipe.setdefault("scratch", []).append(mount.target)
            return
        picked = await asyncio.to_thread(self._given.context.pick, [mount.source], one.line)
        bind: images.RecipeBind = {
            "mount": await self._upload(picked), "source": picked.sources[0], "path": mount.target
        }  # fmt: skip
        recipe.setdefault("binds", []).append(bind)

    # -- files -----------------------------------------------------------------------------------------

    async def _copy(self, one: instructions.Instruction, origin: stages.Origin) -> None:
        sources, recipe = await self._paths(one)
        if one.flags.get("from"):
            if one.line.heredocs:
                raise one.fault("a heredoc comes from no other image; leave --from out")
            if any(".." in source.split("/") for source in sources):
                raise one.fault("a source with .. may lie outside of the image")
            self._put({**recipe, "image": await self._origin(origin), "sources": sources})
            return
        self._put(await self._local(one, sources, recipe))

    async def _add(self, one: instructions.Instruction) -> None:
        sources, recipe = await self._paths(one)
        urls = [source for source in sources if re.match(r"[a-z][a-z0-9+.-]*://|git@", source, re.IGNORECASE)]
        checksum = await self._scope.expand(one, one.flag("checksum"))
        if not urls:
            if checksum:
                raise one.fault("--checksum is for URLs")
            added = await self._local(one, sources, recipe)
            self._put(added)
            return
        url = urls[0]
        if len(sources) > 1 or not url.lower().startswith(("http://", "https://")) or url.endswith(".git"):
            raise one.fault("ADD takes one http or https URL, or local files", hint="Fetch others by RUN.")
        if "@" in url.split("/")[2]:
            raise one.fault("a URL may hold no password", hint="Fetch it by RUN, with a Secret.")
        if checksum and not re.fullmatch(r"sha256:[0-9a-f]{64}", checksum):
            raise one.fault(f"--checksum takes sha256: and 64 digits, not {checksum!r}")
        self._put({**recipe, "op": "fetch", "url": url, **({"checksum": checksum} if checksum else {})})

    async def _paths(self, one: instructions.Instruction) -> tuple[list[str], images.Recipe]:
        """The sources, without heredocs, and a recipe without them."""
        given = one.parts() if one.words is None else one.words
        if len(given) < 2:
            raise one.fault(f"{one.name} needs a source and a destination")
        heredocs = len(one.line.heredocs)
        sources = [word for word in given[:-1] if not (heredocs and "<<" in word)]
        expanded = [await self._scope.expand(one, word) for word in [*sources, given[-1]]]
        if not all(expanded):
            raise one.fault("a path is empty: its variable has no value")
        recipe: images.Recipe = {"op": "copy", "path": expanded[-1]}
        if len(sources) + heredocs > 1 and not _is_folder(expanded[-1]):
            raise one.fault("several sources need a folder to go to", hint=f"End it in a slash: {expanded[-1]}/")
        if owner := await self._scope.expand(one, one.flag("chown")):
            recipe["owner"] = owner
        if mode := await self._scope.expand(one, one.flag("chmod")):
            if not re.fullmatch(r"[0-7]{1,4}", mode):
                raise one.fault(f"--chmod takes an octal number such as 755, not {mode!r}")
            recipe["mode"] = int(mode, 8)
        return expanded[:-1], recipe

    async def _local(
        self, one: instructions.Instruction, sources: Sequence[str], recipe: images.Recipe
    ) -> images.Recipe:
        picked = await asyncio.to_thread(self._given.context.pick, sources, one.line)
        if one.name == "ADD":
            await asyncio.to_thread(_no_archives, one, picked)
        if len(picked.sources) > 1 and not _is_folder(recipe["path"]):
            hint = f"End it in a slash: {recipe['path']}/"
            raise one.fault("several files match and need a folder to go to", hint=hint)
        with tempfile.TemporaryDirectory() as folder:
            for number, heredoc in enumerate(one.line.heredocs):
                text = heredoc.text
                if heredoc.expands:
                    text = await self._scope.expand(one, text, verbatim=True)
                file = Path(folder) / str(number)
                file.write_bytes(text.encode("utf-8", "surrogateescape"))
                picked.add(f"{_HEREDOCS}/{number}/{posixpath.basename(heredoc.name)}", file)
            named = [wildcard.escape(source) for source in dict.fromkeys(picked.sources)]
            return {**recipe, "mount": await self._upload(picked), "sources": named}

    async def _upload(self, picked: context.Picked) -> str:
        return await mounts.Mount(picked).upload(self._around.context.session)


def _is_folder(path: str) -> bool:
    return path in (".", "..") or path.endswith(("/", "/.", "/.."))


def _no_archives(one: instructions.Instruction, picked: context.Picked) -> None:
    import tarfile

    for path, local in picked.local.items():
        if path in picked.sources and tarfile.is_tarfile(local):
            raise one.fault(
                f"ADD does not unpack archives such as {path}", hint="COPY it and RUN tar, or unpack it beforehand."
            )
