"""Steps that run commands or change settings."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.image import chain
from windlass.kit import slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Mapping
    from typing import Any

    from typing_extensions import Self

    from windlass.secret import Secret


class Commands(chain.Chain):
    """The methods of ``Image`` that run commands, and those that change what later steps and containers begin with."""

    def run_commands(
        self,
        *commands: str | list[str],
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[Any, Any] | None = None,
        gpu: object = None,
        force_build: bool = False,
    ) -> Self:
        """Run shell commands, each as a step of its own.

        Args:
            commands: commands, or lists of them.
            env: variables that only these steps see.
            secrets: secrets that only these steps see.
            volumes: volumes by the paths where these steps see them, a cache of packages for example: each command
                sees the newest commit when it starts, and what it wrote is committed when it has ended. Which volumes,
                and how they are mounted, counts for the cache of steps; what they hold does not, and never becomes
                part of the image.
            gpu: GPUs that the step sees, as with a function.
            force_build: run the steps, and those after them, even if they are in the cache.

        Raises:
            InvalidError: something that is no command, or no volume that could be mounted there.

        Example:
            >>> cache = windlass.Volume.from_name("pip-cache", create_if_missing=True)
            >>> image = windlass.Image.debian_slim().run_commands(
            ...     "pip install --cache-dir /cache numpy", volumes={"/cache": cache}
            ... )
        """
        mounted = chain.mounted(volumes)
        image = self
        for command in recipes.commands("run_commands", commands):
            image = image._step(
                {"op": "run", "commands": [command]}, force_build=force_build, env=env, secrets=secrets,
                volumes=mounted, gpu=gpu,
            )  # fmt: skip
        return image

    def env(self, vars: dict[str, str]) -> Self:
        """Set environment variables, for later steps and for containers.

        Raises:
            InvalidError: a name or value is no string.
        """
        checked = recipes.variables("Image.env()", vars)
        return self._step({"op": "env", "env": checked}) if checked else self

    def workdir(self, path: str | os.PathLike[str]) -> Self:
        """The working folder of later steps and of containers."""
        if not str(path):
            raise exception.InvalidError("workdir() takes a path")
        return self._step({"op": "workdir", "path": str(slashes.forward(path))})

    def entrypoint(self, entrypoint_commands: list[str]) -> Self:
        """A program that starts containers; it must run its arguments (``exec "$@"``) in the end."""
        return self._step({"op": "entrypoint", "commands": recipes.strings("entrypoint", entrypoint_commands)})

    def cmd(self, cmd: list[str]) -> Self:
        """What a sandbox runs when it is given no command."""
        return self._step({"op": "cmd", "commands": recipes.strings("cmd", cmd)})

    def shell(self, shell_commands: list[str]) -> Self:
        """The shell of later ``run_commands``, such as ``["/bin/bash", "-c"]``."""
        return self._step({"op": "shell", "commands": recipes.strings("shell", shell_commands)})
