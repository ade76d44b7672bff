"""A Python function as a step: the files that it needs inside, and the command that runs it.

    /__windlass/lib             the library, so that the function's module may import it
    /__windlass/step/           step.json, and the pickles of function and arguments, if any
    /root                       the file or package that defines it: layers below the step's own, so none of it is kept
"""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from windlass import exception
from windlass.wire.messages import images
from windlass.worker import spec
from windlass.worker.images import stack

STEP = "/__windlass/step"
ARGUMENTS = (f"{spec.LIBRARY}/windlass/runner/build_step.py", STEP)
"""What the image's Python is called with."""
HOME = "/root"
"""Where it runs unless the image says otherwise, as functions do."""


def prepare(function: images.BuildFunction, folder: Path, blob: Callable[[str], Path]) -> None:
    """Write into ``folder`` what is seen as ``STEP``. ``blob``: where the bytes of a digest are."""
    step = {**function, "arguments": bool(function["arguments"])}
    (folder / "step.json").write_text(json.dumps(step))
    for name, digest in (("function", function["serialized"]), ("arguments", function["arguments"])):
        if digest:
            shutil.copyfile(blob(digest), folder / name)
    for path in folder.iterdir():
        path.chmod(0o644)


def check(recipe: images.Recipe, python: str) -> None:
    """Raises ``ImageBuildError`` where an image with that Python ("" for none) cannot run the function."""
    if not python:
        raise exception.ImageBuildError("run_function needs an image with Python")
    if not recipe.get("function"):
        raise exception.ImageBuildError("the step names no function")


def settle(upper: Path, layers: Sequence[Path]) -> None:
    """Give ``HOME`` the permissions that it has in the image: it was copied up from the folder of the sources."""
    folder, mode = upper / HOME[1:], stack.mode(layers, Path(HOME[1:]))
    if mode is not None and folder.is_dir() and not folder.is_symlink():
        folder.chmod(mode)


def memory(recipe: images.Recipe) -> int:
    """The limit in bytes; 0 where none was asked for. What was only requested is none."""
    return (recipe.get("memory") or [0, 0])[1] * 1024 * 1024


def cpus(recipe: images.Recipe) -> tuple[float, float | None]:
    """Request and limit, in cores."""
    request, limit = recipe.get("cpu") or [0.0, 0.0]
    return request or 1.0, limit or None
