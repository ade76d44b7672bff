"""Steps that install what the files of a Python project ask for. The files are read when the image is built."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from pathlib import Path

    from typing_extensions import Self

    from windlass.client import imaging
    from windlass.secret import Secret
    from windlass.wire.messages import images


class Projects(chain.Chain):
    """The methods of ``Image`` that install the dependencies of a project, but not the project itself."""

    def pip_install_from_pyproject(
        self,
        pyproject_toml: str | os.PathLike[str],
        optional_dependencies: list[str] = [],  # noqa: B006 - never changed
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Self:
        """Install what ``[project.dependencies]`` of a ``pyproject.toml`` lists. Changed dependencies build it again.

        Args:
            pyproject_toml: the local file.
            optional_dependencies: groups of ``[project.optional-dependencies]`` to install as well.
            find_links: a URL with links to packages.
            index_url: the package index to use instead of the default one.
            extra_index_url: a further package index.
            pre: accept pre-releases.
            extra_options: further options of pip, as on a command line.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: GPUs that the step sees, as with a function.

        Raises:
            ValueError: when the image is built: the file has no ``[project.dependencies]``.
            InvalidError: when the image is built: there is no such optional group.

        Example:
            >>> image = windlass.Image.debian_slim().pip_install_from_pyproject("pyproject.toml", ["gpu"])
        """
        groups = recipes.strings("pip_install_from_pyproject(optional_dependencies=…)", optional_dependencies)
        options = recipes.install_options(
            find_links=find_links, index_url=index_url, extra_index_url=extra_index_url,
            pre=pre, extra_options=extra_options,
        )  # fmt: skip
        path = _local(pyproject_toml)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            from windlass.client import projects

            packages = projects.dependencies(path, groups)
            return [{"op": "pip", "packages": packages, "options": options}] if packages else []

        return self._later(
            f"pip_install_from_pyproject {path.name}", expand,
            force_build=force_build, env=env, secrets=secrets, gpu=gpu,
        )  # fmt: skip

    def poetry_install_from_file(
        self,
        poetry_pyproject_toml: str | os.PathLike[str],
        poetry_lockfile: str | os.PathLike[str] | None = None,
        *,
        ignore_lockfile: bool = False,
        force_build: bool = False,
        with_: list[str] = [],  # noqa: B006 - never changed
        without: list[str] = [],  # noqa: B006 - never changed
        only: list[str] = [],  # noqa: B006 - never changed
        poetry_version: str | None = "latest",
        old_installer: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Self:
        """Install the dependencies of a Poetry project. Changing one of its two files builds the step again.

        Poetry chooses the versions, and does not become part of the image; the packages are installed by uv.

        Args:
            poetry_pyproject_toml: the local file.
            poetry_lockfile: its lock file; by default ``poetry.lock`` beside it.
            ignore_lockfile: choose versions anew, when the image is built. For this Poetry asks pypi.org or the sources
                of the project, not the index that this machine uses for pip.
            force_build: run the step, and those after it, even if they are in the cache.
            with_: optional groups to install as well.
            without: groups to leave out.
            only: install these groups and nothing else.
            poetry_version: the version of Poetry to use, 1.2 or later.
            old_installer: has no effect.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: GPUs that the step sees, as with a function.

        Raises:
            NotFoundError: when the image is built: there is no lock file.
        """
        groups = {"with_": with_, "without": without, "only": only}
        for name, given in groups.items():
            recipes.strings(f"poetry_install_from_file({name}=…)", given)
        recipe: images.Recipe = {"op": "poetry"}
        if poetry_version not in (None, "latest"):
            recipe["poetry"] = str(poetry_version)
        path, lock = _local(poetry_pyproject_toml), None if poetry_lockfile is None else _local(poetry_lockfile)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            from windlass.client import projects

            files = projects.poetry(path, lock, ignore_lockfile=ignore_lockfile)
            return [{**recipe, "files": files, "options": projects.poetry_groups(path, **groups)}]

        return self._later(
            f"poetry_install_from_file {path.name}", expand,
            force_build=force_build, env=env, secrets=secrets, gpu=gpu,
        )  # fmt: skip

    def uv_sync(
        self,
        uv_project_dir: str | os.PathLike[str] = "./",
        *,
        force_build: bool = False,
        groups: list[str] | None = None,
        extras: list[str] | None = None,
        frozen: bool = True,
        extra_options: str = "",
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Self:
        """Install the dependencies of a uv project into a virtual environment, which is the Python of what follows.

        Changing ``pyproject.toml`` or ``uv.lock`` builds the step again. The project itself is not installed: see
        ``add_local_python_source``.

        Args:
            uv_project_dir: the local folder of the project.
            force_build: run the step, and those after it, even if they are in the cache.
            groups: dependency groups to install as well.
            extras: optional dependencies to install as well.
            frozen: take the versions of ``uv.lock`` as they are. Without such a file they are chosen now.
            extra_options: further options of ``uv sync``, as on a command line.
            uv_version: the version of uv to use.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: GPUs that the step sees, as with a function.

        Raises:
            NotFoundError: when the image is built: the folder has no ``pyproject.toml``.
            InvalidError: when the image is built: it is a workspace.

        Example:
            >>> image = windlass.Image.debian_slim().uv_sync().add_local_python_source("my_project")
        """
        import shlex

        options = [f"--group={name}" for name in recipes.strings("uv_sync(groups=…)", groups or [])]
        options += [f"--extra={name}" for name in recipes.strings("uv_sync(extras=…)", extras or [])]
        recipe: images.Recipe = {"op": "uv_sync", "options": options + shlex.split(extra_options)}
        if uv_version is not None:
            recipe["uv"] = uv_version
        folder = _local(uv_project_dir)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            from windlass.client import projects

            files = projects.uv(folder)
            locked = ["--frozen"] if frozen and "uv.lock" in files else []
            return [{**recipe, "files": files, "options": [*locked, *recipe["options"]]}]

        return self._later(
            f"uv_sync {folder.name}", expand, force_build=force_build, env=env, secrets=secrets, gpu=gpu
        )


def _local(path: str | os.PathLike[str]) -> Path:
    """Where it is now: the program may change its working folder before the image is built."""
    from pathlib import Path

    if not str(path):
        raise exception.InvalidError("a path may not be empty")
    return Path(path).expanduser().absolute()
