"""Images: chains of recipes, mounts of local files, and builds."""
from __future__ import annotations

from typing import Any, TypedDict


class Inventory(TypedDict):
    """What is installed: versions by name of Debian's packages and of Python's distributions."""

    debian: dict[str, str]
    python: dict[str, str]


class Recipe(TypedDict, total=False):
    """One step on top of its parent. ``op`` and the fields it uses:

    * "base": ``base`` "debian_slim", ``python`` "3.11"; or ``base`` "image", ``image`` an id: one that exists
    * "run": ``commands`` (each ``/bin/sh -c``, stops at the first failure)
    * "apt": ``packages``
    * "pip" / "uv_pip": ``packages``, ``options`` (flags such as ``--index-url URL``, ``--pre``), ``requirements``
      (the text of requirement files), ``uv`` (version of uv to use, if a special one was asked for)
    * "env": ``env``;  "workdir": ``path``;  "entrypoint"/"cmd"/"shell": ``commands``
    * "copy": ``mount`` (digest of a manifest) baked into the image

    ``pins``: exact versions by package that a step must keep to, as a lock says (``Inventory``).
    ``secrets`` (ids) and ``env`` of a "run"/"apt"/"pip" are visible only during the step.
    ``force``: build it even if the key is known. ``timeout`` in seconds.
    """

    op: str
    base: str
    image: str
    tag: str
    python: str
    commands: list[str]
    packages: list[str]
    options: list[str]
    requirements: list[str]
    uv: str
    env: dict[str, str]
    secrets: list[str]
    path: str
    mount: str
    pins: Inventory
    force: bool
    timeout: float


_NOT_CONTENT = frozenset({"force", "timeout", "secrets"})


def content(recipe: Recipe) -> dict[str, Any]:
    """What a layer is made of, without how it is made: what keys and locks are about."""
    return {k: v for k, v in recipe.items() if k not in _NOT_CONTENT and v not in (None, [], {}, "")}


class ImageBuild(TypedDict, total=False):
    """The whole chain, base first. Answered by a stream of ``BuildEvent``.

    ``ignore_cache``: build every step, and leave the cache as it is. ``builder_version``: instead of the server's own.
    """

    recipes: list[Recipe]
    app_id: str | None
    ignore_cache: bool
    builder_version: str


class BuildEvent(TypedDict, total=False):
    """``kind``: "step" (``step`` of ``steps`` began, ``command`` says what), "log" (``text``),
    "done" (``image_id``, ``python``, ``env``, ``workdir``, and ``chain``, the image after each step). A failure ends
    the stream with an error of status "image_build"."""

    kind: str
    step: int
    steps: int
    command: str
    text: str
    image_id: str
    python: str
    env: dict[str, str]
    workdir: str
    chain: list[str]


class ImageQuery(TypedDict):
    image_ids: list[str]


class Contents(TypedDict):
    """``digest``: of the manifest that a registry's tag meant when the image's base was pulled; "" for others."""

    installed: Inventory
    digest: str


class ImageContents(TypedDict):
    """By image id; images that no worker has are left out."""

    images: dict[str, Contents]


class MountFile(TypedDict):
    """``path`` is relative to the container's root, ``mode`` the permission bits."""

    path: str
    digest: str
    size: int
    mode: int


class MountManifest(TypedDict):
    """The files of a mount, sorted by path. Stored as a blob: its digest is the mount's identity."""

    files: list[MountFile]
