"""A layer goes into an archive and comes back the same: whiteouts, attributes, times, every odd name."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from windlass import exception
from windlass.kit import ids
from windlass.worker.volumes import layers, packing


def _layer(store: layers.Layers) -> str:
    with store.draft() as draft:
        root = draft / "files"
        for name in (
            b"plain",
            b"with space",
            b"new\nline",
            b"\xff\xfe not text",
            "schön €".encode(),
            b"-dash",
            b"x" * 255,
        ):
            (root / os.fsdecode(name)).write_bytes(name * 3)
        (root / "empty").touch()
        deep = root
        for n in range(30):
            deep = deep / f"{n}{'d' * 60}"
            deep.mkdir()
        (deep / "far").write_text("far")
        os.link(root / "plain", deep / "same")
        (root / "link").symlink_to("/etc/passwd")
        (root / "broken").symlink_to("../../..")
        os.mknod(root / "gone", stat.S_IFCHR, os.makedev(0, 0))
        (root / "fresh").mkdir()
        os.setxattr(root / "fresh", "user.overlay.opaque", b"y")
        os.setxattr(root / "plain", "user.note", b"\x00\xff bytes")
        (root / "program").write_text("#!/bin/sh")
        (root / "program").chmod(0o6750)
        os.chown(root / "program", 1, 7)
        with (root / "sparse").open("wb") as file:
            file.truncate(5_000_000)
        os.utime(root / "empty", ns=(123456789, 987654321987654321))
        os.utime(root / "fresh", ns=(1, 1_500_000_000_000_000_001))
        return store.publish(draft, {"plain": ("sha256:0", 15)}, puts=["plain"], clears=["gone"]).layer_id


def _seen(root: Path) -> dict[str, tuple]:
    found = {}
    first: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        state, name = path.lstat(), str(path.relative_to(root))
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        attributes = (
            {}
            if path.is_symlink() or stat.S_ISCHR(state.st_mode)
            else {one: os.getxattr(path, one) for one in os.listxattr(path) if one.startswith("user.")}
        )
        same = first.setdefault(state.st_ino, name)
        found[name] = (
            state.st_mode,
            state.st_uid,
            state.st_gid,
            state.st_mtime_ns,
            state.st_rdev,
            content,
            attributes,
            same,
        )
    return found


def _packed_and_back(root: Path) -> tuple[dict, dict, str, str]:
    (root / "one").mkdir()
    (root / "two").mkdir()
    here, there = layers.Layers(root / "one"), layers.Layers(root / "two")
    layer = _layer(here)
    first = packing.pack(here, layer)
    archive = packing.place(here.home, layer)
    assert archive.stat().st_size == first["size"]
    data = archive.read_bytes()
    again = packing.pack(here, layer)
    packing.place(there.home, layer).write_bytes(data)
    packing.unpack(there, layer)
    packing.unpack(there, layer)
    assert (there.root / layer / "index.json").read_bytes() == (here.root / layer / "index.json").read_bytes()
    return _seen(here.files(layer)), _seen(there.files(layer)), first["digest"], again["digest"]


def test_a_layer_comes_back_as_it_was(apart, tmp_path):
    before, after, first, again = apart(_packed_and_back, tmp_path)
    assert after == before and len(before) > 45
    assert first == again, "the same layer gives the same archive"


def test_an_archive_that_is_none_or_holds_what_no_layer_has_becomes_no_layer(apart, tmp_path):
    def bad(root: Path) -> list[str]:
        store, said = layers.Layers(root), []
        for name, kind in (
            ("../out", tarfile.REGTYPE),
            ("etc/passwd", tarfile.REGTYPE),
            ("files/dev", tarfile.BLKTYPE),
        ):
            layer = ids.new("vl")
            with tarfile.open(packing.place(root, layer), "w") as archive:
                info = tarfile.TarInfo(name)
                info.type = kind
                archive.addfile(info)
            with pytest.raises(exception.DataLossError) as caught:
                packing.unpack(store, layer)
            said.append(str(caught.value))
        layer = ids.new("vl")
        packing.place(root, layer).write_bytes(b"nothing like it" * 100)
        with pytest.raises(exception.DataLossError):
            packing.unpack(store, layer)
        with pytest.raises(exception.InvalidError):
            packing.place(root, "../x")
        assert not (root / "out").exists() and store.known() == []
        return said

    assert all("damaged" in text for text in apart(bad, tmp_path))
