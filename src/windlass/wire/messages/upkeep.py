"""Looking after the images of a platform: remove what nobody uses, check what is there, hand one out as a file."""
from __future__ import annotations

from typing import TypedDict


class ImagePrune(TypedDict, total=False):
    """Which unused images to remove: ``older_than``: not used for so many seconds; ``keep_size``: the oldest ones,
    until all images together take so many bytes. ``everything``: all that nothing uses. ``dry_run``: only say which."""

    older_than: float
    keep_size: int
    everything: bool
    dry_run: bool


class PrunedImage(TypedDict):
    """``size``: bytes that go with it, its share of layers that others stand on too left out. ``command``: its last
    step. ``used_at``: seconds since the epoch."""

    image_id: str
    command: str
    size: int
    used_at: float


class ImagePruned(TypedDict):
    """``size``: bytes that were (or would be) freed, ``stored``: bytes of all images before."""

    images: list[PrunedImage]
    size: int
    stored: int


class ImageFsck(TypedDict, total=False):
    """``repair``: remove what is damaged, and what stands on it."""

    repair: bool


HARMLESS = frozenset({"unknown", "orphan"})
"""Kinds of findings that are no damage."""


class Finding(TypedDict, total=False):
    """Something in the store that is not as it should be. ``kind``:

    * "no record": a layer without a whole record; "changed": its files are not what was published;
      "missing layer": an image that stands on one that is not there
    * "draft": left by a build or a removal that was killed; "stray": nothing that belongs here
    * "no image": the server knows an image that no worker has
    * "unknown": an image that the server does not know: harmless, a build of its steps finds it
    * "orphan": a shared layer that no image lists: harmless, a pull that failed left it for the next one

    ``repaired``: it is put right now. ``remark``: why it could not be.
    """

    name: str
    kind: str
    detail: str
    repaired: bool
    remark: str


class FsckEvent(TypedDict, total=False):
    """``done`` of ``of`` layers are looked at; ``finding``; at the end ``checked`` layers, ``removed`` images."""

    done: int
    of: int
    finding: Finding
    checked: int
    removed: list[str]


class ImageExport(TypedDict, total=False):
    """By ``image_id``, or by ``name`` and ``tag`` in ``environment``. ``format``: "oci"."""

    image_id: str
    name: str
    tag: str
    environment: str
    format: str


class ExportEvent(TypedDict, total=False):
    """One piece of the archive (attachment 0, none at times), and how far it is: ``done`` of ``of`` bytes."""

    done: int
    of: int


class StoredImage(TypedDict):
    """``made_at``: seconds since the epoch."""

    image_id: str
    layers: list[str]
    made_at: float


class StoredMount(TypedDict):
    """``name``: the digest of the manifest, and the image that it was fitted to, if any, behind a dot."""

    name: str
    made_at: float


class Inventory(TypedDict):
    """What a worker has. ``sizes`` of all layers by name, those that are images (by id) and those that images share."""

    images: list[StoredImage]
    sizes: dict[str, int]
    mounts: list[StoredMount]


class StoreRemove(TypedDict):
    """``names`` of images and layers, ``mounts`` by the names of their folders. What is used stays."""

    names: list[str]
    mounts: list[str]


class StoreRemoved(TypedDict, total=False):
    """First ``names``: gone for everybody. The stream ends when the space is free."""

    names: list[str]
    freed: int


class ExportRead(TypedDict, total=False):
    """The next piece of an archive. The first one begins the export and needs all but ``export_id``, too.

    ``reference``: how the image is called in the archive. ``steps``: what made it, base first.
    """

    export_id: str
    image_id: str
    reference: str
    steps: list[ExportStep]


class ExportStep(TypedDict):
    """``layers``: how many it added."""

    command: str
    created_at: float
    layers: int


class ExportPiece(TypedDict, total=False):
    """Attachment 0 continues the archive. ``over``: there is no more."""

    done: int
    of: int
    over: bool


class ExportRef(TypedDict):
    export_id: str
