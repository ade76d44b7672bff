"""Volumes: what users ask for, and what server and worker say to each other about layers.

Paths may hold any bytes but zero and "/" between names, so they travel as attachments: one path as it is, several with
a zero byte between them.
"""
from __future__ import annotations

from typing import TypedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os


class VolumeMount(TypedDict):
    """A volume in a function's containers. ``sub_path`` "" is all of it."""

    path: str
    volume_id: str
    read_only: bool
    sub_path: str


class MountPlan(VolumeMount):
    """What a container begins with: ``layers`` of version ``base``, bottom first."""

    base: int
    layers: list[str]


class VolumeGet(TypedDict, total=False):
    """By id, or by name. ``create``: "missing" or "new" (it must not exist); ``version`` 0 means any.

    ``ephemeral``: a volume without a name, which lives until its owner's ``volume.beat`` stays away.
    """

    volume_id: str
    name: str
    environment: str
    version: int
    create: str
    ephemeral: bool


class VolumeInfo(TypedDict):
    """``head``: number of the newest commit, 0 for none."""

    volume_id: str
    name: str
    environment: str
    version: int
    created_at: float
    created_by: str
    head: int


class VolumeRef(TypedDict):
    volume_id: str


class VolumeList(TypedDict, total=False):
    environment: str
    most: int
    before: float


class VolumeListReply(TypedDict):
    volumes: list[VolumeInfo]


class VolumeRename(TypedDict):
    volume_id: str
    name: str


class VolumeRead(TypedDict, total=False):
    """Attachment 0 is the path. ``at``: number of a commit, the newest if absent. ``size`` -1: to the end."""

    volume_id: str
    at: int
    recursive: bool
    offset: int
    size: int


class VolumeEntries(TypedDict):
    """Attachment i is the path of entry i. ``kinds``: "f", "d", "l", "p", "s" or "?"."""

    kinds: list[str]
    mtimes: list[int]
    sizes: list[int]


class VolumePiece(TypedDict, total=False):
    """One attachment: bytes of a file. ``size`` of the whole file; ``at``: the commit that it is read from."""

    size: int
    at: int


class VolumeGather(TypedDict, total=False):
    """Many small files at once: attachment i is the path of file i. ``most``: bytes that one of them may have."""

    volume_id: str
    at: int
    most: int


class VolumeGathered(TypedDict, total=False):
    """Some of the files: attachment i has all bytes of file ``files[i]``. ``left``: files that are none, or larger;
    who asks for them one by one hears why. ``at``: the commit that they are read from."""

    files: list[int]
    left: list[int]
    at: int


class VolumeUploaded(TypedDict):
    """Answer to a piece of an upload. One that was begun without a digest gets it with its last piece."""

    digest: str


class VolumeResume(TypedDict):
    """An upload without a digest, of ``size`` bytes, goes on where it broke off. Who names it so that the same file has
    the same name again, and another one, or a changed one, another, need not send twice what is there."""

    upload_id: str
    size: int


class VolumeResumed(TypedDict):
    """From which byte."""

    offset: int


class VolumeCopy(TypedDict):
    """An upload of the first ``size`` bytes of a file that the asking program has open, read by the server itself where
    it can see it."""

    descriptor: int
    identity: str
    size: int


def identity(state: os.stat_result) -> str:
    """Says which file it is: on another machine, the same descriptor is another file."""
    return f"{state.st_dev} {state.st_ino} {state.st_mtime_ns}"


def is_place(path: str) -> bool:
    """Whether something can be mounted there in a container: not where the kernel's and the platform's own things are,
    and not where nothing can be."""
    names = path.split("/")
    own = [name for name in names if name not in ("", ".")]
    if names[0] or not own or ".." in own or "\0" in path or own[0] in ("proc", "__windlass") or own == ["dev"]:
        return False
    return all(len(name.encode(errors="surrogatepass")) <= 255 for name in own) and len(path) <= 2048


class VolumeCopied(TypedDict):
    """How many bytes are copied, now and then; with the last of these the digest, which may be one of pieces
    (``kit.digests``); "" where the file had fewer bytes than were asked for."""

    done: int
    digest: str


class VolumeEdit(TypedDict):
    """Attachment 0 is a JSON list of ``EditStep``. All of it happens, or nothing."""

    volume_id: str
    edit_id: str


class EditStep(TypedDict, total=False):
    """``op``: "put" (``digest`` of the file; its bytes are those of upload ``blob`` from ``offset`` on), "folder",
    "remove", or "copy" (of ``sources`` to ``path``)."""

    op: str
    path: str
    digest: str
    size: int
    blob: str
    offset: int
    mode: int
    force: bool
    recursive: bool
    sources: list[str]


class VolumeEdited(TypedDict):
    """Number of the commit that it became."""

    version: int


class VolumeCommit(TypedDict):
    """From a container that has the volume mounted. Answered when the commit is kept, or the mount is fresh.

    ``reload``: see the newest commit afterwards, whatever has to be closed for it."""

    volume_id: str
    reload: bool


class VolumeHistory(TypedDict, total=False):
    volume_id: str
    most: int


class VolumeVersion(TypedDict):
    version: int
    created_at: float
    by: str
    files: int
    size: int


class VolumeHistoryReply(TypedDict):
    versions: list[VolumeVersion]


class VolumeRestore(TypedDict):
    volume_id: str
    version: int


class VolumeFork(TypedDict, total=False):
    """``version`` absent: the newest."""

    volume_id: str
    version: int
    name: str
    environment: str


class VolumeCheck(TypedDict, total=False):
    """``at``: number of a commit, the newest if absent."""

    volume_id: str
    at: int


class Checked(TypedDict, total=False):
    """How far it is (``done`` of ``of`` bytes); or, at the end, a damaged file that is to be seen in the volume."""

    done: int
    of: int
    path: str
    layer_id: str


# -- server and worker ---------------------------------------------------------------------------------


class LayerMade(TypedDict):
    """Attachment 0: paths that it puts; attachment 1: paths that it takes away with all below them."""

    layer_id: str
    digest: str
    files: int
    size: int


class VolumePublish(LayerMade):
    """A container's changes since it saw version ``base``, as a layer. Attachment 2: paths of a clash before which
    the container did see, and meant to take away."""

    volume_id: str
    container_id: str
    base: int


class VolumePublished(TypedDict):
    """The commit became ``version``, and a volume is these layers now. Or ``clash``: what others put since below
    something that this layer takes away; it must be made anew so that it leaves those alone."""

    version: int
    layers: list[str]
    clash: list[str]


class MountTake(TypedDict):
    """To a worker: commit what a container changed, and maybe ``reload`` its mount."""

    container_id: str
    volume_id: str
    reload: bool


class MountTaken(TypedDict):
    version: int


class LayersCheck(TypedDict):
    """To a worker: compare all files of these layers with what was committed. Answered by a stream of ``Checked``."""

    layers: list[str]


class LayersRead(TypedDict, total=False):
    """To a worker, with the path as attachment 0."""

    layers: list[str]
    recursive: bool
    offset: int
    size: int


class LayersGather(TypedDict):
    """To a worker, as ``VolumeGather``."""

    layers: list[str]
    most: int


class LayersEdit(TypedDict):
    """To a worker: what becomes of these layers by the steps in attachment 0; answered by ``LayerMade``."""

    layers: list[str]


class LayersMerge(TypedDict):
    """To a worker: one layer for a run of them, which shows the same. ``bottom``: nothing lies below the run."""

    layers: list[str]
    bottom: bool


class _LayersKeep(TypedDict):
    layers: list[str]
    young: float


class LayersKeep(_LayersKeep, total=False):
    """To a worker: all layers that are named somewhere. Others go that are older than ``young`` seconds. ``dry_run``:
    only say how many."""

    dry_run: bool


class LayersRemoved(TypedDict):
    """``size``: bytes of their files."""

    removed: int
    size: int


class LayerRef(TypedDict):
    """To a worker: make the archive of a layer in ``packs/``, or a layer of its archive there."""

    layer_id: str


class Packed(TypedDict):
    """``digest`` of the archive."""

    digest: str
    size: int


class LayersLacking(TypedDict):
    """Layers that shall be on a worker; as an answer, those that are not."""

    layers: list[str]


class LayersCount(TypedDict):
    """To a worker: how many files, and how many bytes of files, these layers show."""

    layers: list[str]


class LayersCounted(TypedDict):
    files: int
    size: int


class _VolumeQuota(TypedDict):
    volume_id: str


class VolumeQuota(_VolumeQuota, total=False):
    """``quota``: bytes that the volume may have from now on; 0 for no limit, -1 for what the settings say. Without it
    nothing is changed."""

    quota: int


class VolumeQuotaReply(TypedDict):
    """``quota``: bytes, 0 for no limit; ``own``: it is the volume's, not the settings'. ``used``: bytes of its newest
    version."""

    quota: int
    own: bool
    used: int


class VolumeRoom(TypedDict, total=False):
    """``size``: an error where so many bytes can never fit."""

    volume_id: str
    size: int


class VolumeRoomReply(TypedDict):
    """``left``: bytes that fit surely, -1 where there is no limit."""

    left: int


class _VolumeHead(TypedDict):
    version: int
    layers: list[str]


class VolumeHead(_VolumeHead, total=False):
    """``left``: bytes for which there is room surely; absent where there is no limit."""

    left: int
