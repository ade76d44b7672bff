"""Images: chains of recipes, mounts of local files, and builds."""
from __future__ import annotations

from typing import TypedDict


class Recipe(TypedDict, total=False):
    """One step on top of its parent. ``op`` and the fields it uses:

    * "base": ``base`` "debian_slim", ``python`` "3.11"; "registry", ``tag`` its name, ``secrets`` sign in there;
      "scratch", which is empty
    * "run": ``commands`` (each ``/bin/sh -c``, stops at the first failure)
    * "apt": ``packages``
    * "pip" / "uv_pip": ``packages``, ``options`` (flags such as ``--index-url URL``, ``--pre``), ``requirements``
      (the text of requirement files), ``uv`` (version of uv to use, if a special one was asked for)
    * "env": ``env``;  "workdir": ``path``;  "entrypoint"/"cmd"/"shell": ``commands``
    * "copy": ``mount`` (digest of a manifest) baked into the image

    ``secrets`` (ids) and ``env`` of a "run"/"apt"/"pip" are visible only during the step.
    ``force``: build it even if the key is known. ``timeout`` in seconds.
    """

    op: str
    base: str
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
    force: bool
    timeout: float


class ImageBuild(TypedDict):
    """The whole chain, base first. Answered by a stream of ``BuildEvent``."""

    recipes: list[Recipe]
    app_id: str | None


class BuildEvent(TypedDict, total=False):
    """``kind``: "step" (``step`` of ``steps`` began, ``command`` says what), "log" (``text``),
    "done" (``image_id``, ``python``, ``env``, ``workdir``). A failure ends the stream with an error of status
    "image_build"."""

    kind: str
    step: int
    steps: int
    command: str
    text: str
    image_id: str
    python: str
    env: dict[str, str]
    workdir: str


class MountFile(TypedDict):
    """``path`` is relative to the container's root, ``mode`` the permission bits."""

    path: str
    digest: str
    size: int
    mode: int


class MountManifest(TypedDict):
    """The files of a mount, sorted by path. Stored as a blob: its digest is the mount's identity."""

    files: list[MountFile]
