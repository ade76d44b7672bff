"""The steps that bring files into an image: from local files, from another image, from a URL.

The copy itself is a program (``transfer``) that works as a container's root; here is what it is told, and its deadline.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import posixpath
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import windlass
from windlass import exception
from windlass.kit import wildcard
from windlass.wire.messages import images
from windlass.worker import spec
from windlass.worker.images import cache, fetch, settings, stack, transfer

OPS = frozenset({"copy", "fetch", "folder"})
_MODULE = "windlass.worker.images.transfer"


class Trees(Protocol):
    """Materialised mount manifests (``worker.mounts.Mounts``)."""

    async def tree(self, digest: str) -> Path:
        """The folder with the files of manifest ``digest``."""

    def blob(self, digest: str) -> Path:
        """Where the bytes of ``digest`` are."""


class Target:
    """The layer in the making: on top of ``lowers`` (bottom first), with ``workdir`` for relative paths."""

    def __init__(self, home: Path, *, lowers: Sequence[Path], workdir: str, draft: cache.Draft) -> None:
        self.home = home
        self._lowers = lowers
        self._workdir = workdir
        self._draft = draft

    @property
    def aside(self) -> Path:
        """Room for what the step needs and the layer does not hold."""
        return self._draft.aside()

    def order(self, recipe: images.Recipe, *, namespace: Path, tree: Path | None, mode: int = -1) -> transfer.Order:
        """What ``transfer`` is told. ``tree`` None: from the image that the recipe names, or nothing."""
        place = self.aside / "transfer"
        place.mkdir()
        path = absolute(recipe.get("path", "/"), self._workdir)
        image = recipe.get("image", "")
        return {
            "namespace": str(namespace) if namespace.name else "", "place": str(place),
            "lowers": [str(lower) for lower in self._lowers],
            "upper": str(self._draft.files), "tree": str(tree or ""),
            "layers": [str(lower) for lower in stack.lowers(self.home, image)] if image else [],
            "sources": recipe.get("sources", [] if recipe.get("op") == "folder" else ["."]),
            "path": path, "owner": recipe.get("owner", ""), "mode": recipe.get("mode", mode),
        }  # fmt: skip


def absolute(path: str, workdir: str) -> str:
    """``path`` as seen from the working folder, without detours; a slash at its end stays."""
    if "\0" in path:
        raise exception.InvalidError(f"{path!r} is no path")
    found = posixpath.normpath(posixpath.join("/", workdir, path or "."))
    is_folder = path.endswith(("/", "/.", "/..")) or path in ("", ".", "..")
    return f"/{found.strip('/')}/" if is_folder and found.strip("/") else f"/{found.strip('/')}"


async def run(
    recipe: images.Recipe, target: Target, *, trees: Trees, namespace: Path, host: settings.Settings, timeout: float
) -> None:
    """Carry out one of ``OPS``. Raises ``ImageBuildError`` with the reason."""
    tree, mode = None, -1
    if recipe.get("op") == "fetch":
        tree, name = await fetch.fetched(recipe, target.aside, env=host.env, bundle=host.bundle, timeout=timeout)
        recipe, mode = {**recipe, "sources": [wildcard.escape(name)]}, fetch.MODE
    elif recipe.get("mount"):
        tree = await trees.tree(recipe["mount"])
    order = await asyncio.to_thread(target.order, recipe, namespace=namespace, tree=tree, mode=mode)
    await _transferred(order, timeout)


async def _transferred(order: transfer.Order, timeout: float) -> None:
    """Carry out an order in a process of its own, which is killed when this is cancelled."""
    line = [sys.executable, "-S", "-B", "-m", _MODULE]
    env = {"PATH": spec.PATH, "PYTHONPATH": str(Path(windlass.__file__).parents[1]), "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *line, env=env, start_new_session=True, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(json.dumps(order).encode()), timeout)
    except asyncio.TimeoutError:
        raise exception.ImageBuildError(f"did not end within {timeout:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise exception.ImageBuildError(lines[-1] if lines else f"exit code {process.returncode}")
