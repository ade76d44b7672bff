"""What a sandbox is on this machine: its folder, its walls, and the command in it."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from windlass import exception
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import network, spec, upper
from windlass.worker.images import cache, rooted, slim
from windlass.worker.sandboxes import entering

STDIN = "stdin"
_INSIDE = "inside.json"
KERNELS_OWN = ("proc", "dev", "sys")
"""Folders in all of them that a kernel shows itself in."""
_NOTHING = "the sandbox has no command, and neither has its image"


class _Asked(TypedDict):
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]


class Asked(_Asked, total=False):
    """How commands run in a sandbox, kept beside it for those that come later. ``uid`` and so on: of its user.
    ``level``: of its isolation, "" for a container's. ``loopback``: where its ports are reached from its network
    namespace, if that is not the loopback there. ``inner``: where its files are in its own process 1, if that is not
    the root. ``accel``: what its virtual machine runs by."""

    level: str
    loopback: str
    inner: str
    accel: str


class Home(NamedTuple):
    """A sandbox that runs, as a place for commands and files."""

    folder: folders.Folder
    record: folders.Record
    asked: Asked
    doors: list[str]

    def inside(self, argv: Sequence[str]) -> entering.Inside:
        return {
            "first": self.record["pid"], "doors": self.doors, "argv": list(argv), "env": dict(self.asked["env"]),
            "cwd": self.asked["cwd"], "uid": self.asked["uid"], "gid": self.asked["gid"],
            "groups": self.asked["groups"],
        }  # fmt: skip

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.record['pid']}/root{self.asked.get('inner', '')}")

    @property
    def inner(self) -> str:
        """Where its files are in its cell."""
        return self.asked.get("inner", "/")

    @property
    def loopback(self) -> str:
        """Where its ports are reached from within its network namespace."""
        return self.asked.get("loopback", "127.0.0.1")

    @property
    def level(self) -> str:
        return self.asked.get("level", "")


def words(plan: containers.ContainerPlan, image: cache.Record) -> list[str]:
    """The whole command. Raises ``InvalidError`` where there is none."""
    asked = plan["sandbox"].get("command", [])
    usual = image.get("cmd", slim.CMD if image["python"] else [])  # layers of ours may be older than their "cmd"
    found = [*image["entrypoint"], *(asked or usual)]
    if not found:
        raise exception.InvalidError(_NOTHING)
    return found


def asked(plan: containers.ContainerPlan, image: cache.Record) -> Asked:
    """Environment, folder and user of the commands: root, whatever the image says, as in all containers."""
    env = {"PATH": spec.PATH, "HOME": "/root", **image["env"], **plan["env"]}
    cwd = plan["sandbox"].get("workdir", "") or image["workdir"] or "/root"
    return {"env": env, "cwd": cwd, "uid": 0, "gid": 0, "groups": []}


def keep(folder: folders.Folder, how: Asked) -> None:
    """Write down how commands run; it holds secrets."""
    path = folder.path / _INSIDE
    path.touch(0o600)
    path.write_text(json.dumps(how))


def load(folder: folders.Folder) -> Asked:
    """Raises ``NotFoundError`` where it is no sandbox."""
    try:
        found: Asked = json.loads((folder.path / _INSIDE).read_text())
    except FileNotFoundError:
        raise exception.NotFoundError(f"{folder.container_id} is no sandbox") from None
    return found


def level_of(folder: folders.Folder) -> str:
    """The level of a sandbox; "" also of what is none."""
    try:
        return load(folder).get("level", "")
    except exception.NotFoundError:
        return ""


def fill(folder: folders.Folder, net: network.Network) -> None:
    """The folder, and what of the private layer is ours: names. Nothing of the platform is inside."""
    upper.begin(folder, [], {"/etc/resolv.conf": net.resolv_conf, **upper.names(folder.container_id, net)})
    os.mkfifo(folder.path / STDIN, 0o600)
    folder.log.touch(0o600)


def targets(root: Path, binds: Sequence[spec.Bind]) -> list[spec.Bind]:
    """Where to mount ``binds``, made where it is missing: no link of the image leads a mount elsewhere."""
    found: list[spec.Bind] = []
    with rooted.at(root) as tree:
        for bind in binds:
            for made in tree.make(bind.target):
                with tree.opened(made, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                    os.fchown(descriptor, spec.OWNER, spec.OWNER)
            with tree.opened(bind.target, os.O_PATH) as descriptor:
                real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
            found.append(bind._replace(target="/" + os.path.relpath(real, root)))
    return found


def files(root: Path, binds: Sequence[spec.Bind]) -> list[spec.Bind]:
    """The same for binds of files, whose folders are made here, and what they cover when they are mounted. ``/dev`` is
    not the image's."""
    alien = [bind for bind in binds if not bind.target.startswith("/dev/")]
    folders_of = [bind._replace(target=os.path.dirname(bind.target)) for bind in alien]  # noqa: PTH120
    real = [one._replace(target=f"{one.target}/{os.path.basename(bind.target)}")  # noqa: PTH119
            for one, bind in zip(targets(root, folders_of), alien, strict=True)]  # fmt: skip
    return [*real, *(bind for bind in binds if bind.target.startswith("/dev/"))]


def covers(empty: Path, inner: str) -> list[spec.Bind]:
    """Over folders that a kernel of the sandbox's own covers with its file systems: what is put there from outside no
    command would ever see, so it is refused. ``empty``: a folder with empty ones of their names; ``inner``: where the
    sandbox's files are in its cell."""
    return [spec.Bind(empty / name, f"{inner}/{name}") for name in KERNELS_OWN]


def workplace(root: Path, cwd: str) -> None:
    """Let the folder exist that commands begin in, as containers' runtimes do."""
    with rooted.at(root) as tree:
        for made in tree.make(cwd):
            with tree.opened(made, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                os.fchown(descriptor, spec.OWNER, spec.OWNER)
