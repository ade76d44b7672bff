"""Steps that install packages."""
from __future__ import annotations

from windlass.client import recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from typing_extensions import Self

    from windlass.secret import Secret
    from windlass.wire.messages import images


class Packages(chain.Chain):
    """The methods of ``Image`` that install packages."""

    def apt_install(
        self,
        *packages: str | list[str],
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Self:
        """Install Debian packages.

        Args:
            packages: names, or lists of names.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: GPUs that the step sees, as with a function.
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
    ) -> Self:
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
            gpu: GPUs that the step sees, as with a function.

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
    ) -> Self:
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
            gpu: GPUs that the step sees, as with a function.
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
    ) -> Self:
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
            gpu: GPUs that the step sees, as with a function.
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

    def micromamba_install(
        self,
        *packages: str | list[str],
        spec_file: str | os.PathLike[str] | None = None,
        channels: list[str] = [],  # noqa: B006 - never changed
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: object = None,
    ) -> Self:
        """Install conda packages into the base environment of an image that has micromamba.

        Args:
            packages: specs such as ``"numpy>=2"``, or lists of them.
            spec_file: a local file of specs, as ``micromamba install -f`` takes it. Changing it builds the step again.
            channels: where to look for packages, the first before the others.
            force_build: run the step, and those after it, even if they are in the cache.
            env: variables that only this step sees.
            secrets: secrets that only this step sees.
            gpu: GPUs that the step sees, as with a function.

        Example:
            >>> image = windlass.Image.micromamba("3.12").micromamba_install("numpy", channels=["conda-forge"])
        """
        names = recipes.packages("micromamba_install", packages)
        if not names and spec_file is None:
            return self
        named = recipes.strings("micromamba_install(channels=…)", list(channels))
        options = [word for channel in named for word in ("-c", channel)]
        recipe: images.Recipe = {"op": "micromamba", "packages": names, "options": options}
        if spec_file is not None:
            recipe["path"] = f"specs{recipes.ending(spec_file)}"
        return self._step(
            recipe, requirements=[] if spec_file is None else [spec_file],
            force_build=force_build, env=env, secrets=secrets, gpu=gpu,
        )  # fmt: skip
