"""What an image begins with."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, NoReturn

    from windlass.image import Image
    from windlass.secret import Secret
    from windlass.wire.messages import images


def _later(name: str) -> Any:
    """A factory or method that this version does not have yet."""

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise exception.UnimplementedError(
            f"Image.{name} is not available in this version of Windlass",
            hint="Start from Image.debian_slim() and use run_commands, pip_install and add_local_*.",
        )

    missing.__name__ = name
    return staticmethod(missing)


def start(recipe: images.Recipe, *, force_build: bool = False) -> Image:
    """An image of one step."""
    from windlass.image import Image

    return Image._start(recipes.Step(chain.forced(recipe, force_build)))


def _pulled(
    method: str,
    tag: str,
    secret: Secret | None,
    setup: list[str],
    force_build: bool,
    add_python: str | None,
    unknown: dict[str, object],
) -> Image:
    from windlass.image import Image

    if unknown:
        raise TypeError(f"Image.{method}() has no argument {', '.join(sorted(unknown))}")
    if not isinstance(tag, str) or not tag.strip():
        raise exception.InvalidError(f"Image.{method}() takes the name of an image, not {tag!r}")
    python = None if add_python is None else recipes.added_python(add_python)
    base = chain.forced({"op": "base", "base": "registry", "tag": tag.strip()}, force_build)
    image = Image._start(recipes.Step(base, secrets=_registry_secret(secret)))
    if setup:
        lines = recipes.strings("setup_dockerfile_commands", list(setup))
        image = image.dockerfile_commands(*lines)  # type: ignore[attr-defined]
    return image if python is None else image._step({"op": "python", "python": python})


def _registry_secret(secret: Secret | None) -> Collection[Secret]:
    """The secret, as a base takes it. Whether it fits is known here unless its names are stored elsewhere."""
    if secret is None:
        return ()
    from windlass.wire import registries

    checked = chain.checked([secret])
    if secret._values is not None:
        registries.kind(secret._values)
    return checked


class Bases(chain.Chain):
    """The factories of ``Image`` that begin a chain."""

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
        return start(base, force_build=force_build)

    @staticmethod
    def from_registry(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: list[str] = [],  # noqa: B006 - never changed
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: object,
    ) -> Image:
        """An image of a registry, for this machine's platform.

        What the tag means is looked up when the image is first built; ``force_build`` looks again.

        Args:
            tag: its name as docker takes it, such as ``"python:3.12-slim"`` or ``"host:5000/team/app@sha256:…"``.
            secret: opens a private registry. By its names: ``REGISTRY_USERNAME`` and ``REGISTRY_PASSWORD``;
                ``SERVICE_ACCOUNT_JSON`` (GCP); ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_REGION``.
                Without one, what this machine's user has signed in to is used.
            setup_dockerfile_commands: lines of a Dockerfile to begin with, for what the image lacks.
            force_build: pull it again even if it is in the cache.
            add_python: put a Python of its own into the image, such as ``"3.12"``. Functions need one, on the PATH.

        Raises:
            InvalidError: ``tag`` or ``add_python`` cannot be read, or the secret fits no kind of registry, or several.

        Example:
            >>> image = windlass.Image.from_registry("nvidia/cuda:12.4.0-base-ubuntu22.04", add_python="3.12")
        """
        return _pulled("from_registry", tag, secret, setup_dockerfile_commands, force_build, add_python, kwargs)

    @staticmethod
    def from_aws_ecr(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: list[str] = [],  # noqa: B006 - never changed
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: object,
    ) -> Image:
        """An image of AWS' registry: ``from_registry`` by its older name."""
        return _pulled("from_aws_ecr", tag, secret, setup_dockerfile_commands, force_build, add_python, kwargs)

    @staticmethod
    def from_gcp_artifact_registry(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: list[str] = [],  # noqa: B006 - never changed
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: object,
    ) -> Image:
        """An image of GCP's registry: ``from_registry`` by its older name."""
        return _pulled(
            "from_gcp_artifact_registry", tag, secret, setup_dockerfile_commands, force_build, add_python, kwargs
        )

    @staticmethod
    def from_scratch(force_build: bool = False) -> Image:
        """An image that holds nothing. Files and settings may be added; there is no program that could run a step.

        Args:
            force_build: make it again even if it is in the cache.
        """
        return start({"op": "base", "base": "scratch"}, force_build=force_build)

    from_dockerfile = _later("from_dockerfile")
    micromamba = _later("micromamba")
