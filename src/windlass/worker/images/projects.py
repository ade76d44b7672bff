"""Steps that install what a project's files ask for. Pure.

The files are copied to a folder of the step that is gone before it ends, because both programs write beside them.
"""
from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import images
from windlass.worker.images import settings

FILES = "/__windlass/project"
"""Where a step finds the project's files."""

_KNOWN = frozenset({"pyproject.toml", "uv.lock", "poetry.lock"})
_VENV = "/.uv/.venv"


class Line(NamedTuple):
    """A line for the shell. ``shown`` is what people read when it fails."""

    text: str
    shown: str


def line(recipe: images.Recipe) -> Line:
    """What to run for a "uv_sync" or a "poetry"."""
    options = recipe.get("options", [])
    if recipe.get("op") == "uv_sync":
        return Line(_in_project(_uv(recipe)), shlex.join(["uv", "sync", *options]))
    return Line(_in_project(_poetry(recipe)), shlex.join(["poetry", "install", *options]))


def files(recipe: images.Recipe) -> dict[str, str]:
    """The project's files, by name. Raises ``ImageBuildError`` for others than these steps read."""
    given = recipe.get("files", {})
    if unknown := sorted(given.keys() - _KNOWN):
        raise exception.ImageBuildError(f"the step names files that it cannot use: {', '.join(unknown)}")
    return given


def path(recipe: images.Recipe, before: str) -> Mapping[str, str]:
    """Variables of the image that the step changes: the environment of ``uv sync`` is the Python of what follows."""
    if recipe.get("op") != "uv_sync" or before.startswith(f"{_VENV}/bin:"):
        return {}
    return {"PATH": f"{_VENV}/bin:{before}"}


def beside(command: str) -> str:
    """The line for a command that fetches programs of its own: into a folder, ``$folder``, that goes with it."""
    return (
        'folder=$(mktemp -d) && export UV_TOOL_DIR="$folder/.tools" && '
        f'{{ {command}; code=$?; }}; rm -rf "$folder"; exit ${{code:-1}}'
    )


def _in_project(command: str) -> str:
    return beside(f'cp {FILES}/* "$folder" && cd "$folder" && {command}')


def _uv(recipe: images.Recipe) -> str:
    """Python is never fetched: it is the image's, or the step fails and says which one was wanted."""
    argv = [
        *uv(recipe.get("uv")), "sync", "--no-cache", "--no-progress", "--compile-bytecode", "--no-install-project",
        "--no-install-workspace", *recipe.get("options", []),
    ]  # fmt: skip
    variables = f"UV_PROJECT_ENVIRONMENT={_VENV} UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy"
    return f'{variables} UV_PYTHON="$(command -v python3)" {shlex.join(argv)}'


def _poetry(recipe: images.Recipe) -> str:
    """Poetry says which versions, uv installs them: from the indexes that this machine uses, which Poetry knows not.
    What both fetch lies in the folder that goes."""
    version = recipe.get("poetry", "")
    poetry = shlex.join([
        settings.UV, "tool", "run", "--from", f"poetry=={version}" if version else "poetry",
        "--with", "poetry-plugin-export", "poetry",
    ])  # fmt: skip
    export = ["export", "--no-interaction", "--with-credentials", "--output", "wanted.txt", *recipe.get("options", [])]
    install = [
        settings.UV, "pip", "install", "--break-system-packages", "--no-progress", "--compile-bytecode", "--no-deps",
        "--index-strategy", "unsafe-best-match", "-r", "wanted.txt",
    ]  # fmt: skip
    steps = [] if "poetry.lock" in recipe.get("files", {}) else [f"{poetry} lock --no-interaction"]
    steps += [f"{poetry} {shlex.join(export)}", f'{shlex.join(install)} --python "$(command -v python3)"']
    variables = 'UV_CACHE_DIR="$folder/.uv" UV_LINK_MODE=copy POETRY_CACHE_DIR="$folder/.poetry"'
    return f"export {variables} && " + " && ".join(steps)


def uv(version: str | None) -> list[str]:
    """uv itself, or another version of it, fetched for this step only."""
    return [settings.UV, *(["tool", "run", "--no-cache", f"uv@{version}"] if version else [])]
