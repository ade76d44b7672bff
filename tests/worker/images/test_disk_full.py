"""A disk that runs full, or fails, while a layer is made: the layer is absent, the store whole, the error clear."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.wire.messages import workers
from windlass.worker import gpus
from windlass.worker.images import build, cache, fsck, relay, seal, settings

BASE, LAYER = ("im-" + letter * 22 for letter in "ab")


class Steps:
    """Plays ``worker.step.Steps``: writes so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def run(self, argv: list[str], *, upper: Path, **given: Any) -> int:
        (upper / "file").write_bytes(b"x" * self.size)
        return 0


def plan() -> workers.BuildPlan:
    return {
        "build_id": "bu-1", "image_id": LAYER, "parent": BASE, "recipe": {"op": "run", "commands": ["x"]},
        "secrets": {},
    }  # fmt: skip


def make(home: Path, size: int) -> workers.ImageMeta:
    return asyncio.run(builder(home, Steps(size)).build(plan(), lambda text: None))


def builder(home: Path, steps: Steps) -> build.Builder:
    made: Any = None
    relays = relay.Relays(made, needed=False)
    return build.Builder(
        home, steps=steps, mounts=made, namespace=Path("/none"), outer=made, relays=relays, own=home / "build.env",
        mounted=lambda plan: contextlib.nullcontext([]), devices=gpus.Gpus(Path("/none")), environ={},
    )  # type: ignore[arg-type]  # fmt: skip


def publish_base(home: Path) -> None:
    async def run() -> None:
        layers = cache.Layers(home)
        async with layers.draft() as draft:
            (draft.tree() / "bin").mkdir()
            (draft.files / "bin/sh").touch()
            record = {"layers": [BASE], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0}
            await layers.publish(BASE, draft, record)  # type: ignore[arg-type]

    asyncio.run(run())


def is_whole(home: Path, *expected: str) -> bool:
    events = list(fsck.check(home / "layers"))
    names = {entry.name for entry in (home / "layers").iterdir()} - {"lost+found"}
    return names == set(expected) and not [event for event in events if "finding" in event]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    monkeypatch.setattr(settings, "stage_programs", lambda folder: None)
    return tmp_path


@pytest.fixture(params=["ext4", "tmpfs"])
def small(home: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home whose layers lie on a small disk of their own."""
    if os.geteuid():
        pytest.skip("only root may mount")
    layers, disk = home / "layers", home / "disk"
    layers.mkdir()
    if request.param == "ext4":
        with disk.open("wb") as file:
            file.truncate(16 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", disk], check=True)
        mount = ["mount", "-o", "loop", str(disk), str(layers)]
    else:
        mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(layers)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip(f"this machine cannot mount a small {request.param}")
    try:
        publish_base(home)
        yield home
    finally:
        subprocess.run(["umount", str(layers)], check=True)


def test_a_step_that_fills_the_disk_leaves_the_store_whole(small: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match=r"the disk of this machine is full.*windlass image prune"):
        make(small, 64 * 2**20)
    assert is_whole(small, BASE)
    assert make(small, 2**20)["layers"] == [BASE, LAYER]
    assert is_whole(small, BASE, LAYER)


def test_a_step_that_leaves_no_room_for_the_record_leaves_the_store_whole(small: Path) -> None:
    """The step fills the disk to the last byte and ends well; then its record does not fit."""

    class Greedy(Steps):
        async def run(self, argv: list[str], *, upper: Path, **given: Any) -> int:
            number = 0
            for piece in (65536, 4096, 1):
                try:
                    while True:
                        number += 1
                        (upper / f"f{number}").write_bytes(b"x" * piece)
                except OSError as exc:
                    assert exc.errno == errno.ENOSPC
            return 0

    with pytest.raises(exception.ImageBuildError, match="the disk of this machine is full"):
        asyncio.run(builder(small, Greedy(0)).build(plan(), lambda text: None))
    assert is_whole(small, BASE)


FAILING: dict[str, Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]] = {
    "the draft": lambda patch, fail: patch.setattr(cache.tempfile, "mkdtemp", fail),
    "its tree": lambda patch, fail: patch.setattr(cache.Draft, "tree", fail),
    "the walk": lambda patch, fail: patch.setattr(seal, "look", fail),
    "the record": lambda patch, fail: patch.setattr(cache, "_write", fail),
    "the sync": lambda patch, fail: patch.setattr(cache.os, "fsync", fail),
    "the rename": lambda patch, fail: patch.setattr(cache.Path, "rename", fail),
}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", FAILING)
def test_whatever_fails_the_layer_is_absent_and_the_store_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch, where: str, number: int
) -> None:
    publish_base(home)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        FAILING[where](patch, fail)
        expected = "could not store the layer" if number == errno.EIO else "the disk of this machine is full"
        with pytest.raises(exception.ImageBuildError, match=expected):
            make(home, 10)
    assert is_whole(home, BASE)
    assert make(home, 10)["size"] > 0 and is_whole(home, BASE, LAYER)
