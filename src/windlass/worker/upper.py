"""The private layer of a container: its folder, and the files in it that are ours before anything runs.

They lie in the topmost layer because whatever an image holds in their places, a link for example, must not count.
"""
from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from windlass.kit import files
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import network, spec


def fill(folder: folders.Folder, net: network.Network, *, doors: Sequence[str] = ()) -> None:
    """Names of the network, and where our own mounts go, ``doors`` among them. What names the container is still empty
    (file systems write at once what is written over)."""
    texts = {"/etc/resolv.conf": net.resolv_conf, "/etc/hostname": "", "/etc/hosts": "", spec.PLAN: ""}
    begin(folder, ["/__windlass", spec.LIBRARY, spec.SERVER, *doors], texts)
    files.create(str(folder.plan), b"", 0o400)  # holds the token
    os.chown(folder.plan, spec.OWNER, spec.OWNER)
    files.create(str(folder.log), b"", 0o600)


def begin(folder: folders.Folder, inside: Sequence[str], texts: Mapping[str, str]) -> None:
    """The folder, and in its private layer ``/etc``, the folders ``inside`` and the files ``texts``."""
    folder.path.mkdir(mode=0o711, parents=True)
    for path in (folder.bundle, folder.rootfs, folder.work):
        os.mkdir(path)  # noqa: PTH102
    upper = os.fspath(folder.upper)
    for name in ("", "/etc", *inside):
        os.mkdir(upper + name)  # noqa: PTH102
        _own(upper + name, 0o755)
    for name, text in texts.items():
        files.create(upper + name, text.encode())
        _own(upper + name, 0o644)


def names(container_id: str, net: network.Network) -> dict[str, str]:
    """The files that say who a container is."""
    name = container_id[:63]
    hosts = f"{net.hosts}{net.address or '127.0.0.1'} {name}\n"
    return {"/etc/hostname": f"{name}\n", "/etc/hosts": hosts}


def identify(
    folder: folders.Folder, plan: containers.ContainerPlan, net: network.Network, *, root: Path, log: bytes = b""
) -> None:  # fmt: skip
    """Make what was prepared for nobody in particular this container's."""
    for name, text in names(folder.container_id, net).items():
        files.write(f"{root}{name}", text.encode())
    files.write(str(folder.plan), json.dumps(plan["runner"]).encode())
    if log:
        folder.log.write_bytes(log)


def note(folder: folders.Folder, text: str) -> None:
    """A line of ours in the container's log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000+00:00", time.gmtime())
    with folder.log.open("a") as log:
        log.write(f"{stamp} stderr F {text}\n")


def give(tree: Path) -> None:
    """Hand a small tree to the container's root."""
    for path in (tree, *tree.rglob("*")):
        _own(path, 0o755 if path.is_dir() else 0o644)


def _own(path: str | Path, mode: int) -> None:
    os.chown(path, spec.OWNER, spec.OWNER)
    os.chmod(path, mode)  # noqa: PTH101
