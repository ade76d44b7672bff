"""What an image begins with."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from windlass.image import Image
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

    from_registry = _later("from_registry")
    from_aws_ecr = _later("from_aws_ecr")
    from_gcp_artifact_registry = _later("from_gcp_artifact_registry")
    from_scratch = _later("from_scratch")
    micromamba = _later("micromamba")
