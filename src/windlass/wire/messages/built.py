"""Images that exist: their names, where their bytes are, and how they were built."""
from __future__ import annotations

from typing import TypedDict


class ImageGet(TypedDict, total=False):
    """By ``image_id``; or by ``name`` and ``tag``, in ``environment`` ("": the server's)."""

    image_id: str
    name: str
    tag: str
    environment: str


class ImageFound(TypedDict):
    """What a client needs to know of an image."""

    image_id: str
    python: str
    env: dict[str, str]
    workdir: str


class ImagePublish(TypedDict, total=False):
    """From now on ``name`` and ``tag`` mean ``image_id``."""

    image_id: str
    name: str
    tag: str
    environment: str


class ImageList(TypedDict, total=False):
    """``environment``: only those that have a name there, or that a living app of it uses.

    ``all``: also those that only later steps stand on.
    """

    environment: str
    all: bool


class ImageRow(TypedDict):
    """``command``: its last step as people read it. Sizes in bytes: of its own layer, of all its layers, and of those
    that other images have too. ``names``: "environment/name:tag"."""

    image_id: str
    command: str
    size: int
    total: int
    shared: int
    built_at: float
    used_at: float | None
    names: list[str]


class ImageListReply(TypedDict):
    images: list[ImageRow]


class ImageStep(TypedDict):
    """One step. ``others``: images that have this layer and do not belong to the same chain."""

    image_id: str
    command: str
    size: int
    built_at: float
    others: int


class ImageUser(TypedDict):
    """A living app, and which of its functions run on the image."""

    app_id: str
    description: str
    environment: str
    functions: list[str]


class ImageSharing(TypedDict):
    """Another image, and how many bytes both have."""

    image_id: str
    command: str
    size: int


class ImageInfo(TypedDict):
    """``steps`` from the base on. ``sharing``: those that have most in common with it, not its own steps."""

    image_id: str
    steps: list[ImageStep]
    size: int
    total: int
    shared: int
    python: str
    env: dict[str, str]
    workdir: str
    entrypoint: list[str]
    digest: str
    built_at: float
    used_at: float | None
    names: list[str]
    users: list[ImageUser]
    sharing: list[ImageSharing]


class ImageLogs(TypedDict, total=False):
    """How an image was built, or failed to be: all its steps from the base on.

    ``layer``: only this step, by its image id or its number (from 1; negative ones count from the last step).
    ``follow``: stay until what is being built is done.
    """

    image_id: str
    layer: str
    follow: bool


class ImageLogEvent(TypedDict, total=False):
    """``kind``:

    * "layer": what follows is of ``image_id``, ``command``, ``step`` of ``steps``, begun at ``started_at`` (None: no
      log is kept)
    * "log": ``text``, at ``time``
    * "end" of this layer: ``ended_at`` (None: it is still being built), ``error`` (None: it was built), ``left_out``
      bytes of output
    """

    kind: str
    image_id: str
    command: str
    step: int
    steps: int
    started_at: float | None
    text: str
    time: float
    ended_at: float | None
    error: str | None
    left_out: int
