"""A layer's archive becomes a folder in the format of overlayfs, or is refused; it never reaches anything else."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oci
from windlass.worker.images import unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

ROOM = 10 * 2**20
VALUE = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"  # cap_net_bind_service


def into(target: Path, archive: bytes, *, limit: int = ROOM) -> unpack.Unpacked:
    target.mkdir(exist_ok=True)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack.unpack(io.BufferedReader(io.BytesIO(archive)), root, limit=limit)
    finally:
        os.close(root)


def made(target: Path, *members: Any, **given: Any) -> Path:
    into(target, oci.archive(*members), **given)
    return target


def refused(target: Path, *members: Any, match: str) -> None:
    with pytest.raises(unpack.Refused, match=match):
        made(target, *members)


def is_whiteout(path: Path) -> bool:
    state = path.lstat()
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == 0


def is_opaque(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.getxattr(path, "user.overlay.opaque") == b"y"
    return False


def test_files_links_owners_modes_times_and_attributes_arrive(tmp_path: Path) -> None:
    attributes = {"SCHILY.xattr.user.colour": "blue", "SCHILY.xattr.security.capability": VALUE.decode("latin-1")}
    layer = made(
        tmp_path / "layer",
        oci.entry("./", uid=7, gid=8, mode=0o711),
        oci.entry("usr", mtime=1_000_000_000),
        oci.entry("usr/bin/tool", b"x" * 3_000_000, mode=0o6755, uid=1000, gid=65534, mtime=1_234_567_890.5),
        oci.entry("usr/bin/marked", b"m", pax_headers=attributes),
        oci.entry("tmp", mode=0o1777),
        oci.link("lib", "usr/lib"),
        oci.link("away", "/etc/passwd"),
        oci.link("usr/again", "usr/bin/tool", hard=True),
        oci.entry("pipe", type=tarfile.FIFOTYPE, mode=0o640),
        oci.entry("größe \udcff\n", b"any name"),
    )
    tool = (layer / "usr/bin/tool").stat()
    assert (tool.st_size, tool.st_mode & 0o7777, tool.st_uid, tool.st_gid) == (3_000_000, 0o6755, 1000, 65534)
    assert tool.st_mtime == 1_234_567_890.5 and tool.st_nlink == 2
    assert (layer / "usr/again").stat().st_ino == tool.st_ino
    assert (layer / "usr").stat().st_mtime == 1_000_000_000
    assert (layer / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (layer.stat().st_uid, layer.stat().st_mode & 0o7777) == (7, 0o711)
    assert os.readlink(layer / "lib") == "usr/lib" and os.readlink(layer / "away") == "/etc/passwd"
    assert os.getxattr(layer / "usr/bin/marked", "user.colour") == b"blue"
    assert os.getxattr(layer / "usr/bin/marked", "security.capability")[4:8] == VALUE[4:8]
    pipe = (layer / "pipe").lstat()
    assert stat.S_ISFIFO(pipe.st_mode) and pipe.st_mode & 0o777 == 0o640
    assert (layer / "größe \udcff\n").read_text() == "any name"


def test_whiteouts_become_those_of_overlayfs(tmp_path: Path) -> None:
    layer = made(
        tmp_path / "layer",
        oci.entry("gone/.wh.file", b""),
        oci.entry("fresh/.wh..wh..opq", b""),
        oci.entry("fresh/new", b"new"),
        oci.entry(".wh.first", b""),
        oci.entry("first/made after its whiteout", b""),
        oci.entry("second/made before its whiteout", b""),
        oci.entry(".wh.second", b""),
        oci.entry("third", b"a file"),
        oci.entry(".wh.third", b""),
        oci.entry(".wh.fourth", b""),
        oci.entry("fourth"),
        oci.entry(".wh..wh.aufs", b""),
    )
    assert is_whiteout(layer / "gone/file")
    assert is_opaque(layer / "fresh") and (layer / "fresh/new").exists()
    assert all(is_opaque(layer / name) for name in ("first", "second", "fourth"))
    assert (layer / "third").read_text() == "a file"
    assert not list(layer.rglob(".wh.*")) and not is_opaque(layer)


def test_a_layer_that_hides_everything_below_says_so(tmp_path: Path) -> None:
    assert into(tmp_path / "layer", oci.archive(oci.entry(".wh..wh..opq", b""))).opaque


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    layer = made(
        tmp_path / "layer",
        oci.entry("a", b"one"), oci.entry("a", b"two"),
        oci.entry("b/deep/file", b""), oci.entry("b", b"a file now"),
        oci.link("c", "elsewhere"), oci.entry("c", b"no longer a link"),
        oci.entry("d", b""), oci.entry("d"),
        oci.link("e", "b"), oci.entry("e"), oci.entry("e/in", b""),
        oci.entry("f/deep/file", b""), oci.link("f", "a", hard=True),
        oci.link("a", "a", hard=True),
    )  # fmt: skip
    assert (layer / "a").read_text() == "two" and (layer / "b").read_text() == "a file now"
    assert (layer / "c").read_text() == "no longer a link" and not (layer / "elsewhere").exists()
    assert (layer / "d").is_dir() and not (layer / "e").is_symlink() and (layer / "e/in").exists()
    assert (layer / "f").samefile(layer / "a")


def test_a_link_on_the_way_is_followed_as_long_as_it_stays_inside(tmp_path: Path) -> None:
    layer = made(
        tmp_path / "layer",
        oci.link("lib", "usr/lib"), oci.link("usr/lib/here", "../share"), oci.entry("lib/here/file", b"found"),
    )  # fmt: skip
    assert (layer / "usr/share/file").read_text() == "found"


def test_devices_and_marks_of_overlayfs_are_left_out(tmp_path: Path) -> None:
    device = oci.entry("dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
    marked = oci.entry("d", pax_headers={"SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.trusted.x": "y"})
    found = into(tmp_path / "layer", oci.archive(device, marked))
    assert found.skipped == 1 and not (tmp_path / "layer/dev/sda").exists()
    assert os.listxattr(tmp_path / "layer/d") == []


def test_a_sparse_file_keeps_its_holes(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as out:
        out.truncate(4 * 2**20)
        out.seek(2 * 2**20)
        out.write(b"in the middle")
    for form in ("gnu", "pax"):
        archive = subprocess.run(
            ["tar", "-C", tmp_path, f"--format={form}", "-Scf", "-", "sparse"], capture_output=True, check=True
        ).stdout
        assert len(archive) < 2**20
        into(tmp_path / form, archive)
        assert (tmp_path / form / "sparse").read_bytes() == file.read_bytes()
        assert (tmp_path / form / "sparse").stat().st_blocks * 512 < 2**20


# "/OUT" stands for a folder beside the target: a test that fails must not hurt the machine.
OUT = [
    ("an absolute name", [oci.entry("/OUT/x", b"")], "absolute"),
    ("a climbing name", [oci.entry("a/../../x", b"")], "climbs"),
    ("a climbing name that would end inside", [oci.entry("a/../x", b"")], "climbs"),
    ("an absolute link on the way", [oci.link("l", "/OUT"), oci.entry("l/x", b"")], "leads through the link"),
    ("a climbing link on the way", [oci.link("l", ".."), oci.entry("l/x", b"")], "climb out"),
    ("a link that climbs later", [oci.link("d/l", "../../x"), oci.entry("d/l/y", b"")], "climb out"),
    ("two links that climb together", [oci.link("a", "b/.."), oci.link("b", ".."), oci.entry("a/x", b"")], "climb"),
    ("a folder through a link", [oci.link("l", "/OUT"), oci.entry("l/x")], "leads through the link"),
    ("links in a circle", [oci.link("a", "b"), oci.link("b", "a"), oci.entry("a/x", b"")], "leads through"),
    ("a whiteout through a link", [oci.link("l", "/OUT"), oci.entry("l/.wh.file", b"")], "leads through"),
    ("an opaque mark through a link", [oci.link("l", ".."), oci.entry("l/.wh..wh..opq", b"")], "climb"),
    ("a hard link to an absolute name", [oci.link("h", "/OUT/file", hard=True)], "absolute"),
    ("a climbing hard link", [oci.link("h", "../x", hard=True)], "climbs"),
    ("a hard link through a link", [oci.link("l", "/OUT"), oci.link("h", "l/file", hard=True)], "leads through"),
    ("a hard link to nothing", [oci.link("h", "nothing", hard=True)], "does not exist"),
    ("a hard link to a folder", [oci.entry("d"), oci.link("h", "d", hard=True)], "no file"),
    ("a hard link to the root", [oci.link("h", ".", hard=True)], "folder"),
    ("a hard link to a whiteout", [oci.entry(".wh.x", b""), oci.link("h", "x", hard=True)], "no file"),
    ("a name with a zero byte", [oci.entry("x", b"", pax_headers={"path": "a\0b"})], "zero byte"),
    ("a link with a zero byte", [oci.entry("x", type=tarfile.SYMTYPE, pax_headers={"linkpath": "a\0b"})], "broken"),
    ("a whiteout of nothing", [oci.entry(".wh.", b"")], "removes nothing"),
    ("a whiteout of the folder", [oci.entry("d/.wh..", b"")], "removes nothing"),
    ("a whiteout of the parent", [oci.entry("d/.wh...", b"")], "removes nothing"),
    ("something below a whiteout", [oci.entry(".wh.x/y", b"")], "removes nothing"),
    ("a long part", [oci.entry("x" * 300, b"")], "File name too long"),
    ("a long name", [oci.entry("x/" * 4000 + "y", b"")], "too long"),
    ("a root that is a file", [oci.entry(".", b"")], "own folder"),
    ("a file as a folder", [oci.entry("f", b""), oci.entry("f/x", b"")], "no folder"),
    ("an owner that no container has", [oci.entry("x", b"", uid=65535)], "id 65535"),
    ("a negative owner", [oci.entry("x", b"", gid=-1)], "id -1"),
    ("an unknown type", [oci.entry("x", type=b"Z")], "unknown type"),
    ("too much", [oci.entry("x", b"x" * (ROOM + 1))], "larger than"),
]


@pytest.mark.parametrize(("members", "match"), [case[1:] for case in OUT], ids=[case[0] for case in OUT])
def test_what_leads_out_or_makes_no_sense_is_refused(tmp_path: Path, members: list[Any], match: str) -> None:
    with watched(tmp_path):
        refused(tmp_path / "layer", oci.entry("before", b""), *aimed(members, tmp_path / "x"), match=match)


@pytest.mark.parametrize("kept", [0, 100, 512, 700, 1500, 2047])
def test_an_archive_that_ends_too_early_is_refused(tmp_path: Path, kept: int) -> None:
    whole = oci.archive(oci.entry("x", b"x" * 1024), oci.entry("y", b"y" * 600))
    with pytest.raises(unpack.Refused, match=r"broken|too early|damaged"):
        into(tmp_path / "layer", whole[:kept])


def test_a_damaged_header_is_refused_and_not_taken_for_the_end(tmp_path: Path) -> None:
    whole = bytearray(oci.archive(oci.entry("x", b"x"), oci.entry("y", b"y")))
    whole[1024 + 5] ^= 1
    with pytest.raises(unpack.Refused, match="damaged"):
        into(tmp_path / "layer", bytes(whole))


def test_a_header_that_never_ends_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    with pytest.raises(unpack.Refused, match="impossible size"):
        into(tmp_path / "layer", info.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096)


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 0
    with pytest.raises(unpack.Refused):
        into(tmp_path / "layer", info.tobuf(tarfile.GNU_FORMAT) * 5000)


def run(target: Path, archive: bytes, digest: str) -> subprocess.CompletedProcess[bytes]:
    target.mkdir()
    line = [sys.executable, "-m", "windlass.worker.images.unpack", str(target), digest, str(ROOM), ""]
    return subprocess.run(line, input=archive, capture_output=True, check=False, timeout=30)


def test_as_a_program_it_says_how_it_went(tmp_path: Path) -> None:
    archive = oci.archive(oci.entry("x", b"x"))
    right = hashlib.sha256(archive).hexdigest()
    assert run(tmp_path / "right", archive, right).stdout == b'{"opaque": false}\n'
    assert (tmp_path / "right/x").read_text() == "x"
    wrong = run(tmp_path / "wrong", archive, "0" * 64)
    assert wrong.returncode == 1 and b"has the digest sha256:" + right.encode() in wrong.stdout


# -- anything at all ----------------------------------------------------------------------------------------


def seen(folder: Path) -> dict[str, tuple[int, ...]]:
    """All that could change in ``folder``, itself included."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        state = path.lstat()
        found[str(path)] = (
            state.st_ino, state.st_mode, state.st_uid, state.st_gid, state.st_size, state.st_nlink, state.st_mtime_ns
        )  # fmt: skip
    return found


def aimed(members: list[Any], out: Path) -> list[Any]:
    """``members`` with "/OUT" made ``out``."""
    found = []
    for told, data in members:
        info = copy.copy(told)
        info.name, info.linkname = (text.replace("/OUT", str(out)) for text in (told.name, told.linkname))
        found.append((info, data))
    return found


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[None]:
    """A folder beside the target stays as it is, and nothing comes to be beside it."""
    sentinel = folder / "x"
    (sentinel / "y").mkdir(parents=True, exist_ok=True)
    (sentinel / "file").write_text("sentinel")
    (folder / "layer").mkdir(exist_ok=True)
    before = seen(sentinel)
    names = {path.name for path in folder.iterdir()}
    yield
    assert seen(sentinel) == before and {path.name for path in folder.iterdir()} == names


parts = st.sampled_from(
    ["a", "b", "c", "..", ".", "", "x", ".wh.a", ".wh.", ".wh..wh..opq", "y", "file", "\udcff", "layer"]
)
leads = st.sampled_from(["", "", "", "", "/OUT/", "./"])
paths = st.builds(lambda lead, names: lead + "/".join(names), leads, st.lists(parts, max_size=5))
ways_out = st.sampled_from(["..", "../x", "a/../../x", "/OUT", "/OUT/y", "/OUT/file", "../layer", "a/../.."])
goals = st.one_of(paths, ways_out)
kinds = st.sampled_from([
    tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
    tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE,
])  # fmt: skip


@st.composite
def members(draw: st.DrawFn) -> Any:
    kind = draw(kinds)
    return oci.entry(
        draw(paths), draw(st.binary(max_size=20)) if kind == tarfile.REGTYPE else None, type=kind,
        linkname=draw(goals) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "", mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.sampled_from([0, 1, 65534])), mtime=draw(st.sampled_from([0, 1.5, -1, 2**40])),
    )  # fmt: skip


def attempt(folder: Path, archive: bytes) -> None:
    with watched(folder):
        try:
            into(folder / "layer", archive)
        except unpack.Refused:
            pass
    subprocess.run(["rm", "-rf", str(folder / "layer")], check=True)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(members(), min_size=1, max_size=8))
def test_no_archive_of_hostile_names_touches_anything_outside(tmp_path: Path, found: list[Any]) -> None:
    attempt(tmp_path, oci.archive(*aimed(found, tmp_path / "x")))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(members(), min_size=1, max_size=4), st.data())
def test_no_damaged_archive_does_either(tmp_path: Path, found: list[Any], data: st.DataObject) -> None:
    archive = bytearray(oci.archive(*aimed(found, tmp_path / "x")))
    for _ in range(data.draw(st.integers(1, 6))):
        # Mostly within headers, their checksums put right again by half.
        at = data.draw(st.integers(0, min(len(archive), 4096) - 1))
        archive[at] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            start = at - at % 512
            head = archive[start : start + 512]
            head[148:156] = b" " * 8
            archive[start + 148 : start + 156] = b"%06o\0 " % sum(head)
    attempt(tmp_path, bytes(archive))
