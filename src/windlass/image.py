"""``Image``: what the file system and environment of containers look like.

An image is an immutable chain of steps. Nothing happens when it is described; when an app that uses it runs, the
client uploads the local files it needs, and the server builds the steps that it does not know yet.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import object as objects
from windlass.client import recipes
from windlass.file_pattern_matcher import NON_PYTHON_FILES, as_ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

    from windlass.client import mount as mounts
    from windlass.client import resolver
    from windlass.secret import Secret
    from windlass.wire.messages import images

    P = ParamSpec("P")
    R = TypeVar("R")


class _Imports:
    """The block of ``Image.imports()``: keeps an exception for later instead of raising it."""

    def __init__(self, deferred: list[BaseException]) -> None:
        self._deferred = deferred

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> bool:
        if not isinstance(exc, Exception):
            return False
        self._deferred.append(exc)
        if not isinstance(exc, ImportError):
            import warnings

            warnings.warn(f"an imports() block failed with {type(exc).__name__}: {exc}", stacklevel=2)
        return True


def _later(name: str) -> Any:
    """A factory or method that this version does not have yet."""

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise exception.UnimplementedError(
            f"Image.{name} is not available in this version of Windlass",
            hint="Start from Image.debian_slim() and use run_commands, pip_install and add_local_*.",
        )

    missing.__name__ = name
    return staticmethod(missing)


class Image(objects.Object):
    """The file system and environment of containers, as a chain of steps. Each method returns a new image.

    Example:
        >>> image = (
        ...     windlass.Image.debian_slim("3.11")
        ...     .apt_install("git")
        ...     .pip_install("numpy", "pandas")
        ...     .env({"MODE": "fast"})
        ...     .add_local_dir("data", "/data")
        ... )
    """

    _prefix = "im"
    _steps: tuple[recipes.Step, ...]
    _mounts: tuple[mounts.Mount, ...]  # attached when a container starts
    _misplaced: str = ""  # a build step that was put behind attached files
    _deferred: list[BaseException]  # of imports(); shared with images that differ in attached files only
    _mount_digests: tuple[str, ...] = ()
    _python: str = ""

    # -- bases ----------------------------------------------------------------------------------------

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> Image:
        """A small Debian with Python, pip and compilers.

        Args:
            python_version: such as ``"3.12"``; by default the version that runs here.
            force_build: build it again even if it is in the cache.

        Raises:
            TypeError: ``python_version`` is no string.
            InvalidError: the version is not supported.
        """
        base: images.Recipe = {"op": "base", "base": "debian_slim", "python": recipes.series(python_version)}
        return Image._start(recipes.Step(_forced(base, force_build)))

    from_registry = _later("from_registry")
    from_dockerfile = _later("from_dockerfile")
    from_aws_ecr = _later("from_aws_ecr")
    from_gcp_artifact_registry = _later("from_gcp_artifact_registry")
    from_scratch = _later("from_scratch")
    micromamba = _later("micromamba")

    # -- packages -------------------------------------------------------------------------------------

    def apt_install(
        self,
        *packages: str | list[str],
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install Debian packages.

        Args:
            packages: names, or lists of names.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: not available yet.
        """
        names = recipes.packages("apt_install", packages)
        if not names:
            return self
        return self._step({"op": "apt", "packages": names}, force_build=force_build, env=env, secrets=secrets, gpu=gpu)

    def pip_install(
        self,
        *packages: str | list[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install Python packages as pip does.

        Args:
            packages: requirements such as ``"numpy>=2"``, or lists of them.
            find_links: a URL with links to packages.
            index_url: the package index to use instead of the default one.
            extra_index_url: a further package index.
            pre: accept pre-releases.
            extra_options: further options of pip, as on a command line.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: not available yet.

        Example:
            >>> image = windlass.Image.debian_slim().pip_install("scikit-learn==1.5.2", "polars")
        """
        names = recipes.packages("pip_install", packages)
        if not names:
            return self
        options = recipes.install_options(
            find_links=find_links, index_url=index_url, extra_index_url=extra_index_url,
            pre=pre, extra_options=extra_options,
        )  # fmt: skip
        recipe: images.Recipe = {"op": "pip", "packages": names, "options": options}
        return self._step(recipe, force_build=force_build, env=env, secrets=secrets, gpu=gpu)

    def pip_install_from_requirements(
        self,
        requirements_txt: str | os.PathLike[str],
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install what a requirements file lists. Changing the file builds the step again.

        Args:
            requirements_txt: the local file.
            find_links: a URL with links to packages.
            index_url: the package index to use instead of the default one.
            extra_index_url: a further package index.
            pre: accept pre-releases.
            extra_options: further options of pip, as on a command line.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: not available yet.
        """
        options = recipes.install_options(
            find_links=find_links, index_url=index_url, extra_index_url=extra_index_url,
            pre=pre, extra_options=extra_options,
        )  # fmt: skip
        recipe: images.Recipe = {"op": "pip", "packages": [], "options": options}
        return self._step(
            recipe, requirements=[requirements_txt], force_build=force_build, env=env, secrets=secrets, gpu=gpu
        )

    def uv_pip_install(
        self,
        *packages: str | list[str],
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Image:
        """Install Python packages with uv, which is quicker than pip and resolves strictly.

        Args:
            packages: requirements such as ``"numpy>=2"``, or lists of them.
            requirements: local requirements files.
            find_links: a URL with links to packages.
            index_url: the package index to use instead of the default one.
            extra_index_url: a further package index.
            pre: accept pre-releases.
            extra_options: further options of uv, as on a command line.
            force_build: run the step, and those after it, even if they are in the cache.
            uv_version: the version of uv to use.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: not available yet.
        """
        names = recipes.packages("uv_pip_install", packages)
        files = recipes.strings("uv_pip_install(requirements=…)", requirements or [])
        if not names and not files:
            return self
        options = recipes.install_options(
            find_links=find_links, index_url=index_url, extra_index_url=extra_index_url,
            pre=pre, extra_options=extra_options,
        )  # fmt: skip
        recipe: images.Recipe = {"op": "uv_pip", "packages": names, "options": options}
        if uv_version is not None:
            recipe["uv"] = uv_version
        return self._step(recipe, requirements=files, force_build=force_build, env=env, secrets=secrets, gpu=gpu)

    # -- commands and settings ------------------------------------------------------------------------

    def run_commands(
        self,
        *commands: str | list[str],
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: dict[str, object] | None = None,
        gpu: object = None,
        force_build: bool = False,
    ) -> Image:
        """Run shell commands, each as a step of its own.

        Args:
            commands: commands, or lists of them.
            env: variables that only these steps see.
            secrets: secrets that only these steps see.
            volumes: not available yet.
            gpu: not available yet.
            force_build: run the steps, and those after them, even if they are in the cache.
        """
        if volumes:
            raise exception.UnimplementedError("run_commands(volumes=…) is not available in this version of Windlass")
        image = self
        for command in recipes.commands("run_commands", commands):
            image = image._step(
                {"op": "run", "commands": [command]}, force_build=force_build, env=env, secrets=secrets, gpu=gpu
            )
        return image

    def env(self, vars: dict[str, str]) -> Image:
        """Set environment variables, for later steps and for containers.

        Raises:
            InvalidError: a name or value is no string.
        """
        checked = recipes.variables("Image.env()", vars)
        return self._step({"op": "env", "env": checked}) if checked else self

    def workdir(self, path: str | os.PathLike[str]) -> Image:
        """The working folder of later steps and of containers."""
        if not str(path):
            raise exception.InvalidError("workdir() takes a path")
        return self._step({"op": "workdir", "path": str(path)})

    def entrypoint(self, entrypoint_commands: list[str]) -> Image:
        """A program that starts containers; it must run its arguments (``exec "$@"``) in the end."""
        return self._step({"op": "entrypoint", "commands": recipes.strings("entrypoint", entrypoint_commands)})

    def cmd(self, cmd: list[str]) -> Image:
        """What a sandbox runs when it is given no command."""
        return self._step({"op": "cmd", "commands": recipes.strings("cmd", cmd)})

    def shell(self, shell_commands: list[str]) -> Image:
        """The shell of later ``run_commands``, such as ``["/bin/bash", "-c"]``."""
        return self._step({"op": "shell", "commands": recipes.strings("shell", shell_commands)})

    # -- local files ----------------------------------------------------------------------------------

    def add_local_file(
        self, local_path: str | os.PathLike[str], remote_path: str | os.PathLike[str], *, copy: bool = False
    ) -> Image:
        """Add one local file.

        Args:
            local_path: the file here.
            remote_path: its place, absolute; with a trailing slash the folder that it goes into.
            copy: make it a step of the image, so that later steps see it; otherwise it is attached when a container
                starts, which needs no build when it changes.

        Raises:
            InvalidError: ``remote_path`` is not absolute.
        """
        from pathlib import Path

        from windlass.client import mount as mounts

        local = Path(local_path).expanduser().absolute()
        remote = recipes.remote_file(local.name, remote_path)
        return self._add(mounts.Mount(mounts.File(local, remote)), copy)

    def add_local_dir(
        self,
        local_path: str | os.PathLike[str],
        remote_path: str | os.PathLike[str],
        *,
        copy: bool = False,
        ignore: Sequence[str] | Callable[[Path], bool] = [],  # noqa: B006 - never changed
    ) -> Image:
        """Add what a local folder holds.

        Args:
            local_path: the folder here.
            remote_path: its place, absolute.
            copy: as for ``add_local_file``.
            ignore: what to leave out: patterns as in a ``.dockerignore`` file, or a callable that is given paths
                relative to the folder and returns True for those.

        Raises:
            InvalidError: ``remote_path`` is not absolute.
        """
        from pathlib import Path

        from windlass.client import mount as mounts

        local = Path(local_path).expanduser().absolute()
        tree = mounts.Tree(local, recipes.remote_folder(remote_path), ignore=as_ignore(ignore))
        return self._add(mounts.Mount(tree), copy)

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: Sequence[str] | Callable[[Path], bool] = NON_PYTHON_FILES
    ) -> Image:
        """Add local Python packages and modules, found as ``import`` finds them, so that containers can import them.

        Args:
            modules: names of packages or modules.
            copy: as for ``add_local_file``.
            ignore: as for ``add_local_dir``; by default everything but ``.py`` files.
        """
        for name in modules:
            if not isinstance(name, str) or not name:
                raise exception.InvalidError(f"add_local_python_source() takes names of modules, not {name!r}")
        if not modules:
            return self
        from windlass.client import mount as mounts

        leave_out = as_ignore(ignore)
        return self._add(mounts.Mount(*(mounts.Module(name, ignore=leave_out) for name in modules)), copy)

    # -- use ------------------------------------------------------------------------------------------

    def imports(self) -> _Imports:
        """A block for imports of packages that only this image has.

        Where they are missing (on the machine that runs the program, in containers of other images) the block is
        left at its first failure; in a container of this image the failure is raised.

        Example:
            >>> with image.imports():
            ...     import torch
        """
        return _Imports(self._deferred)

    def pipe(self, func: Callable[Concatenate[Image, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``func(image, *args, **kwargs)``, so that own functions fit into a chain."""
        return func(self, *args, **kwargs)

    # -- inside ---------------------------------------------------------------------------------------

    @classmethod
    def _start(cls, step: recipes.Step) -> Image:
        image = cls._new()
        image._steps, image._mounts, image._deferred = (step,), (), []
        return image

    def _derived(self) -> Image:
        image = Image._new()
        image._steps, image._mounts, image._misplaced = self._steps, self._mounts, self._misplaced
        image._deferred = []
        return image

    def _step(
        self,
        recipe: images.Recipe,
        *,
        requirements: Sequence[str | os.PathLike[str]] = (),
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Image:
        if gpu is not None:
            raise exception.UnimplementedError("a GPU during a build step is not available in this version of Windlass")
        if env:
            recipe["env"] = recipes.variables(f"{recipe['op']} step (env=…)", env, optional=True)
        step = recipes.Step(_forced(recipe, force_build), secrets=_checked(secrets or ()), requirements=requirements)
        return self._append(step)

    def _append(self, step: recipes.Step) -> Image:
        image = self._derived()
        image._steps += (step,)
        if self._mounts and not self._misplaced:
            image._misplaced = _named(step.recipe)
        return image

    def _add(self, mount: mounts.Mount, copy: bool) -> Image:
        if copy:
            return self._append(recipes.Step({"op": "copy"}, mount=mount))
        image = self._derived()
        image._deferred = self._deferred
        image._mounts += (mount,)
        return image

    def _describe(self) -> str:
        return "Image"

    def _metadata(self) -> dict[str, Any]:
        return {"python": self._python, "mounts": list(self._mount_digests)}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._python = metadata["python"]
        self._mount_digests = tuple(metadata["mounts"])
        if not hasattr(self, "_steps"):  # the handle travelled
            self._steps, self._mounts, self._deferred = (), (), []

    def _deps(self) -> Sequence[objects.Object]:
        return [secret for step in self._steps for secret in step.secrets]

    async def _load(self, context: resolver.Context) -> None:
        from windlass.client import imaging

        built = await imaging.build(self._steps, misplaced=self._misplaced, context=context)
        digests = [await mount.upload(context.session) for mount in self._mounts]
        self._hydrate(built.image_id, {"python": built.python, "mounts": digests})

    def _entered(self) -> None:
        """Called by the runner when the user's module is imported and this is the image of its container.

        Raises the first failure of an ``imports()`` block.
        """
        if self._deferred:
            raise self._deferred[0]


def _forced(recipe: images.Recipe, force: bool) -> images.Recipe:
    if force:
        recipe["force"] = True
    return recipe


def _checked(secrets: Collection[Secret]) -> Collection[Secret]:
    from windlass.secret import Secret

    if not isinstance(secrets, (list, tuple, set)) or not all(isinstance(secret, Secret) for secret in secrets):
        raise exception.InvalidError("secrets takes a list of Secret objects")
    return secrets


def _named(recipe: images.Recipe) -> str:
    detail = recipe.get("commands") or recipe.get("packages") or [recipe.get("path", "")]
    return f"{recipe['op']} {' '.join(detail)}".strip()
