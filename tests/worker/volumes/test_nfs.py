"""Folders that others write to while the worker looks: nothing in them leads out, and nothing is half there."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker.volumes import nfs, reading

ID = "sv-0123456789012345678901"


@pytest.fixture
def folders(tmp_path: Path) -> nfs.Folders:
    return nfs.Folders(tmp_path)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What no link may lead to."""
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "file").write_text("secret")
    return secret


def upload(folders: nfs.Folders, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    place = folders.root.parent / "uploads" / name[:2] / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return f"sha256:{name}"


def step(folders: nfs.Folders, path: str, data: bytes, **more: Any) -> Any:
    digest = upload(folders, data)
    return {"op": "put", "path": path, "blob": digest, "digest": digest, "size": len(data), "offset": 0, **more}


def put(folders: nfs.Folders, *steps: Any) -> None:
    nfs.put(folders, ID, steps, folders.root.parent / "uploads")


def remove(folders: nfs.Folders, path: str, *, recursive: bool = False) -> None:
    asyncio.run(nfs.remove(folders, ID, {"op": "remove", "path": path, "recursive": recursive}))


def listed(folders: nfs.Folders, path: str = "/", *, recursive: bool = True) -> list[str]:
    return [entry.path for entry in reading.entries(folders.files(ID), path, recursive=recursive)]


def test_files_come_whole_belong_to_the_containers_root_and_replace_what_is_there(folders: nfs.Folders) -> None:
    files = folders.files(ID)
    put(folders, step(folders, "/a/b/file", b"one", mode=0o755), step(folders, "copy", b"one"))
    assert (files / "a/b/file").read_text() == (files / "copy").read_text() == "one"
    states = [(files / path).stat() for path in ("a", "a/b", "a/b/file", "copy")]
    assert {(state.st_uid, state.st_gid) for state in states} == {(1, 1)}
    assert (files / "a/b/file").stat().st_mode & 0o777 == 0o755
    reader = (files / "copy").open()
    put(folders, step(folders, "copy", b"another"))
    with reader:
        assert reader.read() == "one" and (files / "copy").read_text() == "another"
    packed = {**step(folders, "packed", b"xxyyzz"), "digest": f"sha256:{hashlib.sha256(b'yy').hexdigest()}"}
    put(folders, {**packed, "offset": 2, "size": 2})
    assert (files / "packed").read_text() == "yy"
    whole = step(folders, "whole", b"x" * 300_000)
    put(folders, whole)
    left = [path for path in (folders.root.parent / "uploads").rglob("*") if path.is_file()]
    assert left and whole["digest"][7:] not in {path.name for path in left}, "small ones stay for others who sent them"
    assert {path.stat().st_mtime for path in left} == {0}, "until the next sweep"
    assert not any((files.parent / "drafts").iterdir())


@pytest.mark.parametrize("goal", ["{outside}", "../../../outside", "/proc/self/root{outside}"])
def test_no_link_leads_out(folders: nfs.Folders, outside: Path, goal: str) -> None:
    files = folders.files(ID)
    (files / "link").symlink_to(goal.format(outside=outside))
    (files / "leaf").symlink_to(goal.format(outside=outside) + "/file")
    for path in ("link", "link/file", "leaf"):
        with pytest.raises(exception.NotFoundError):
            reading.opened(files, path)
    with pytest.raises(exception.NotFoundError):
        listed(folders, "link")
    for path in ("link/new", "link/file"):
        with pytest.raises(exception.Error):
            put(folders, step(folders, path, b"x"))
        with pytest.raises(exception.NotFoundError):
            remove(folders, path)
    put(folders, step(folders, "leaf", b"mine"))
    assert (files / "leaf").read_text() == "mine" and not (files / "leaf").is_symlink()
    remove(folders, "link", recursive=True)
    assert listed(folders) == ["leaf"] and os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "secret"


def test_folders_that_are_exchanged_for_links_meanwhile_lead_nowhere(folders: nfs.Folders, outside: Path) -> None:
    files = folders.files(ID)
    with _exchanging(files / "turn", outside):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            with contextlib.suppress(exception.Error):
                put(folders, step(folders, "turn/file", b"x"), step(folders, "turn/new", b"x"))
            with contextlib.suppress(exception.Error):
                remove(folders, "turn", recursive=True)
            with contextlib.suppress(exception.Error):
                descriptor, _ = reading.opened(files, "turn/file")
                assert os.read(descriptor, 10) != b"secret"
                os.close(descriptor)
            with contextlib.suppress(exception.Error, OSError):
                assert "turn/only-outside" not in listed(folders)
    assert (outside / "file").read_text() == "secret" and os.listdir(outside) == ["file"]


@contextlib.contextmanager
def _exchanging(place: Path, goal: Path) -> Iterator[None]:
    """A folder and a link take turns in one place."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                place.mkdir()
                (place / "file").write_text("inside")
            with contextlib.suppress(OSError):
                place.rename(place.with_name("aside"))
                place.symlink_to(goal)
            with contextlib.suppress(OSError):
                place.unlink()
                place.with_name("aside").rename(place)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_deep_trees_pipes_and_odd_names_are_listed_and_removed(folders: nfs.Folders) -> None:
    files = folders.files(ID)
    here = files / "-rf"
    here.mkdir()
    (here / "a\nb\\*").write_text("")
    os.mkfifo(here / "pipe")
    descriptor = os.open(here, os.O_RDONLY)
    for _ in range(1500):  # deeper than a path can be long
        os.mkdir("dir", dir_fd=descriptor)
        inner = os.open("dir", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    assert {"-rf", "-rf/a\nb\\*", "-rf/pipe", "-rf/dir"} <= set(listed(folders))
    with pytest.raises(exception.InvalidError, match="plain"):
        reading.opened(files, "-rf/pipe")
    with pytest.raises(exception.InvalidError, match="folder"):
        remove(folders, "-rf")
    remove(folders, "-rf", recursive=True)
    assert listed(folders) == []


def test_bad_steps_are_refused_before_anything_is_put(folders: nfs.Folders) -> None:
    good = step(folders, "good", b"x")
    for bad in ({**good, "path": "../x"}, {**good, "path": "/"}, {**good, "path": "x" * 300}):
        with pytest.raises(exception.InvalidError):
            put(folders, good, bad)
    with pytest.raises(exception.NotFoundError, match="upload"):
        put(folders, {**good, "blob": f"sha256:{'0' * 64}"})
    with pytest.raises(exception.InvalidError):
        folders.files("sv-../../x")
    assert listed(folders) == []
    (folders.files(ID) / "folder").mkdir()
    with pytest.raises(exception.AlreadyExistsError, match="folder"):
        put(folders, step(folders, "folder", b"x"))
    put(folders, step(folders, "good", b"x"))
    with pytest.raises(exception.InvalidError):
        put(folders, step(folders, "good/below", b"x"))


def test_what_is_retired_is_gone_at_once_and_its_space_after(folders: nfs.Folders) -> None:
    put(folders, step(folders, "a/file", b"x"))
    assert folders.known() == [ID]
    folders.retire([ID, "sv-0000000000000000000000", "../uploads"])
    assert folders.known() == [] and len(list(folders.root.iterdir())) == 1
    asyncio.run(folders.bury())
    assert list(folders.root.iterdir()) == []
    assert (folders.root.parent / "uploads").is_dir()
