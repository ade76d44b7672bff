"""Images: chains of recipes, mounts of local files, and builds."""
from __future__ import annotations

from typing import Any, TypedDict

from windlass.wire.messages import functions, nfs, volumes


class Inventory(TypedDict):
    """What is installed: versions by name of Debian's packages and of Python's distributions."""

    debian: dict[str, str]
    python: dict[str, str]


class BuildFunction(TypedDict):
    """How a function gets into the step that runs it; fields as in ``FunctionSpec``. ``serialized``, ``arguments``:
    digests of pickles, if any. ``mounts``: digests of manifests, seen during the step. None of it is content: what the
    function is known by is the recipe's ``fingerprint``."""

    module: str
    qualname: str
    definition: str
    python: str
    serialized: str | None
    arguments: str | None
    mounts: list[str]


class RecipeBind(TypedDict):
    """``source`` in the tree of ``mount`` (digest of a manifest), seen at ``path`` during a step."""

    mount: str
    source: str
    path: str


class Recipe(TypedDict, total=False):
    """One step on top of its parent. ``op`` and the fields it uses:

    * "base": ``base`` "debian_slim", ``python`` "3.11"; "image", ``image`` an id: one that exists; "registry", ``tag``
      its name, ``secrets`` sign in there; "scratch", which is empty
    * "python": ``python`` "3.12" (or "3.14t"), put into /usr/local
    * "run": ``commands`` (each ``/bin/sh -c``, stops at the first failure), or ``argv`` (a program, without shell), or
      ``script`` (a program's text that begins with ``#!``). ``scratch``: folders that are empty and not kept;
      ``binds``: what is seen read-only
    * "apt": ``packages``
    * "pip" / "uv_pip": ``packages``, ``options`` (flags such as ``--index-url URL``, ``--pre``), ``requirements``
      (the text of requirement files), ``uv`` (version of uv to use, if a special one was asked for)
    * "micromamba": ``packages``, ``options`` (channels), ``requirements`` (the text of a file of specs), whose name is
      like ``path``
    * "env": ``env``;  "workdir": ``path``;  "entrypoint"/"cmd"/"shell": ``commands``
    * "user": ``user`` of later "run"
    * "copy": ``sources`` (patterns, all by default) of ``mount`` (digest of a manifest) or of ``image`` (id of a built
      one) go to ``path`` ("/" by default; relative to the working folder), which is a folder if it ends in a slash. A
      source that is a folder stands for what it holds. ``owner`` (names or numbers, ``user:group``) and ``mode``
      (permission bits) instead of their own
    * "fetch": what is at ``url`` goes to ``path`` as with "copy"; ``checksum`` ("sha256:…") must hold
    * "folder": ``path`` exists
    * "private_pip": as "pip"; ``packages`` are repositories ("github.com/owner/name@ref"), ``git_user`` reads them
    * "uv_sync" / "poetry": ``files`` of the project (text by name), ``options`` of ``uv sync`` / ``poetry export``,
      ``uv`` / ``poetry`` (version to use, if a special one was asked for)
    * "function": ``function``, known by its ``fingerprint``; ``cpu`` (cores) and ``memory`` (MiB): request and limit

    ``pins``: exact versions by package that a step must keep to, as a lock says (``Inventory``).
    ``secrets`` (ids) and ``env`` of a step that runs something are visible only during the step. ``volumes`` and
    ``nfs`` are mounted during the step, and nothing of what they hold becomes part of the layer. ``gpus``: what the
    step sees of them, as in ``FunctionSpec``.
    ``force``: build it even if the key is known. ``timeout`` in seconds. ``line``: where a Dockerfile says so
    ("Dockerfile, line 7"), for errors.
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
    poetry: str
    git_user: str
    files: dict[str, str]
    function: BuildFunction
    fingerprint: str
    cpu: list[float]
    memory: list[int]
    env: dict[str, str]
    secrets: list[str]
    volumes: list[volumes.VolumeMount]
    nfs: list[nfs.NfsMount]
    gpus: list[functions.GpuSpec]
    path: str
    mount: str
    pins: Inventory
    image: str
    sources: list[str]
    owner: str
    mode: int
    url: str
    checksum: str
    user: str
    argv: list[str]
    script: str
    scratch: list[str]
    binds: list[RecipeBind]
    force: bool
    timeout: float
    line: str


RUN = frozenset({
    "apt", "function", "micromamba", "pip", "poetry", "private_pip", "run", "uv_pip", "uv_sync",
})  # fmt: skip
"""What runs programs of the image."""

_NOT_CONTENT = frozenset({"force", "function", "timeout", "secrets", "line"})


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


class MountLink(TypedDict):
    """A symbolic link at ``path``. ``target`` means something inside the container only."""

    path: str
    target: str


class _MountFiles(TypedDict):
    files: list[MountFile]


class MountManifest(_MountFiles, total=False):
    """The files of a mount, sorted by path. Stored as a blob: its digest is the mount's identity.

    ``links``: symbolic links. ``folders``: those that are there also when they are empty.
    """

    links: list[MountLink]
    folders: list[str]
