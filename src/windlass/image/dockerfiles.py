"""Images from Dockerfiles, and their instructions as steps."""
from __future__ import annotations

from windlass import exception
from windlass.client import gpus, recipes
from windlass.file_pattern_matcher import FilePatternMatcher, as_ignore
from windlass.image import bases, chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path
    from typing import NoReturn

    from typing_extensions import Self

    from windlass.client import imaging
    from windlass.client.dockerfile import writer
    from windlass.image import Image
    from windlass.secret import Secret
    from windlass.wire.messages import images


class _Auto:
    """The type of ``AUTO_DOCKERIGNORE``."""

    def __repr__(self) -> str:
        return "AUTO_DOCKERIGNORE"

    def __call__(self, path: Path) -> bool:
        return False


AUTO_DOCKERIGNORE = _Auto()
"""Leave out what ``<Dockerfile>.dockerignore`` says, or else ``.dockerignore`` in the context's folder."""


class Dockerfiles(chain.Chain):
    """The methods of ``Image`` that understand the language of Dockerfiles."""

    @staticmethod
    def from_dockerfile(
        path: str | os.PathLike[str],
        *,
        context_mount: object = None,
        force_build: bool = False,
        context_dir: str | os.PathLike[str] | None = None,
        ignore: Sequence[str] | Callable[[Path], bool] = AUTO_DOCKERIGNORE,
        build_args: dict[str, str] = {},  # noqa: B006 - never changed
        registry_secret: Secret | None = None,
        secrets: Collection[Secret] | None = None,
        env: dict[str, str | None] | None = None,
        gpu: object = None,
        add_python: str | None = None,
    ) -> Image:
        """The image that a Dockerfile describes. The file, and the files that it copies, are read at each run.

        Args:
            path: the Dockerfile, relative to the working folder of the program.
            context_mount: removed.
            force_build: build all steps again even if they are in the cache.
            context_dir: the folder that COPY and ADD take local files from; by default the working folder.
            ignore: what of it to leave out: patterns as in a ``.dockerignore`` file, or a callable that is given paths
                relative to the folder and returns True for those. By default what ``<Dockerfile>.dockerignore`` or
                ``.dockerignore`` says.
            build_args: values for ARG.
            registry_secret: how to log in to the registry of the base image; for files with a single stage.
            secrets: secrets that only RUN sees.
            env: variables that only RUN sees.
            gpu: GPUs that the step sees, as with a function.
            add_python: put a Python of this series ("3.12") into the image, where it has none.

        Raises:
            FileNotFoundError: there is no such Dockerfile. When the image is built, as all that follows.
            ImageBuildError: the Dockerfile is wrong, or an instruction is not supported; the message shows its line.
            InvalidError: a file to copy lies outside of the context.

        Example:
            >>> image = windlass.Image.from_dockerfile("Dockerfile", build_args={"VERSION": "3"})
        """
        from windlass.image import Image

        _check(context_mount)
        options = _Options(context_dir, ignore, build_args, secrets, env, force_build)
        signed = bases.registry_secret(registry_secret)
        python = None if add_python is None else recipes.added_python(add_python)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            import asyncio
            from pathlib import Path

            from windlass.client.dockerfile import assemble, reading

            file = Path(path).expanduser()
            found = await asyncio.to_thread(reading.dockerfile, file, options.build_args)
            if unused := found.unused(options.build_args):
                around.note([], f"{file}: no ARG declares {', '.join(unused)} of build_args")
            secret = next((one.object_id for one in signed), "")
            return await assemble.whole(found, options.given(file), around, registry_secret=secret)

        common = chain.forced({"op": "from_dockerfile"}, force_build)
        needs, devices = [*options.secrets, *signed], gpus.parse(gpu)
        image = Image._start(recipes.Step(common, expand=expand, needs=needs, gpus=devices))
        return image if python is None else image._step({"op": "python", "python": python})

    def dockerfile_commands(
        self,
        *dockerfile_commands: str | list[str],
        context_files: dict[str, str] = {},  # noqa: B006 - never changed
        secrets: Collection[Secret] | None = None,
        env: dict[str, str | None] | None = None,
        gpu: object = None,
        context_mount: object = None,
        context_dir: str | os.PathLike[str] | None = None,
        force_build: bool = False,
        ignore: Sequence[str] | Callable[[Path], bool] = AUTO_DOCKERIGNORE,
        build_args: dict[str, str] = {},  # noqa: B006 - never changed
    ) -> Self:
        """Continue the image by instructions as they stand in Dockerfiles, all but FROM.

        Args:
            dockerfile_commands: lines, or lists of them.
            context_files: further local files for COPY, by the paths that it names them with.
            secrets: secrets that only RUN sees.
            env: variables that only RUN sees.
            gpu: GPUs that the step sees, as with a function.
            context_mount: removed.
            context_dir: the folder that COPY and ADD take local files from; by default the working folder.
            force_build: run the steps, and those after them, even if they are in the cache.
            ignore: as for ``from_dockerfile``.
            build_args: values for ARG.

        Raises:
            ImageBuildError: an instruction is wrong or not supported; the message shows it. When the image is built.
            InvalidError: a file to copy lies outside of the context.

        Example:
            >>> image = windlass.Image.debian_slim().dockerfile_commands("WORKDIR /srv", "COPY data data")
        """
        lines = recipes.commands("dockerfile_commands", dockerfile_commands)
        if not lines:
            return self
        _check(context_mount)
        options = _Options(context_dir, ignore, build_args, secrets, env, force_build)
        named = recipes.variables("dockerfile_commands(context_files=…)", context_files)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            from windlass.client.dockerfile import assemble, stages

            found = stages.read_commands("\n".join(lines), "dockerfile_commands")
            return await assemble.more(found, options.given(None, named), around)

        return self._later(
            "dockerfile_commands", expand, force_build=force_build, gpu=gpu, needs=[*options.secrets]
        )


class _Options:
    """What both methods take, checked."""

    def __init__(
        self,
        context_dir: str | os.PathLike[str] | None,
        ignore: Sequence[str] | Callable[[Path], bool],
        build_args: dict[str, str],
        secrets: Collection[Secret] | None,
        env: dict[str, str | None] | None,
        force: bool,
    ) -> None:
        self.build_args = recipes.variables("build_args", build_args)
        self.secrets = chain.checked(secrets or ())
        self._context_dir = context_dir
        self._ignore = ignore if isinstance(ignore, _Auto) else as_ignore(ignore)
        self._env = recipes.variables("env", env, optional=True) if env else {}
        self._force = force

    def given(self, file: Path | None, named: dict[str, str] = {}) -> writer.Given:  # noqa: B006 - never changed
        """For the client, when the image is built. ``file``: the Dockerfile."""
        from pathlib import Path

        from windlass.client.dockerfile import context, writer

        folder = Path(self._context_dir if self._context_dir is not None else ".").expanduser().absolute()
        if not folder.is_dir():
            raise FileNotFoundError(f"the context {str(folder)!r} is no folder")
        files = {name: Path(local).expanduser().absolute() for name, local in named.items()}
        ignore = _auto(folder, file) if isinstance(self._ignore, _Auto) else self._ignore
        return writer.Given(
            context.Context(folder, ignore=ignore, named=files), build_args=self.build_args, env=self._env,
            secrets=[secret.object_id for secret in self.secrets], force=self._force,
        )  # fmt: skip


def _auto(folder: Path, file: Path | None) -> Callable[[Path], bool]:
    own = [file.with_name(f"{file.name}.dockerignore")] if file is not None else []
    found = next((path for path in [*own, folder / ".dockerignore"] if path.is_file()), None)
    return FilePatternMatcher.from_file(found) if found is not None else FilePatternMatcher()


def _check(context_mount: object) -> None:
    if context_mount is not None:
        _removed()


def _removed() -> NoReturn:
    raise exception.DeprecationError("context_mount was removed; use context_dir and ignore, or context_files")
