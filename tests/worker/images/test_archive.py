"""An exported image is one that others can read: every kind of entry, the same bytes each time, in constant memory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker.images import archive, cache, tar

RECORD: cache.Record = {
    "layers": ["im-1", "im-2"], "env": {"A": "1"}, "workdir": "/srv", "entrypoint": ["tini", "--"], "python": "3.11",
    "size": 0, "cmd": ["sleep", "9"],
}  # fmt: skip
STEPS: list[Any] = [
    {"command": "debian_slim", "created_at": 1.0, "layers": 1},
    {"command": "ENV A", "created_at": 2.0, "layers": 0},
    {"command": "echo 1", "created_at": 3.5, "layers": 1},
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir(mode=0o755)
    return files


def packed(tree: Path) -> bytes:
    out = io.BytesIO()
    tar.layer(tree, out.write)
    return out.getvalue()


def members(tree: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed(tree))) as file:
        return {member.name: member for member in file.getmembers()}


def test_files_folders_and_links_keep_what_they_are(tree: Path) -> None:
    (tree / "a").write_bytes(b"x" * 1000)
    (tree / "a").chmod(0o4755)
    os.utime(tree / "a", (5, 1234567890.75))
    (tree / "d").mkdir(mode=0o700)
    (tree / "d/link").symlink_to("../a")
    os.mkfifo(tree / "pipe", 0o600)
    found = members(tree)
    assert list(found) == [".", "a", "d", "d/link", "pipe"]
    assert (found["a"].mode, found["a"].mtime, found["a"].size) == (0o4755, 1234567890, 1000)
    assert found["d"].isdir() and found["d"].mode == 0o700
    assert found["d/link"].linkname == "../a" and found["pipe"].isfifo()


def test_owners_are_a_containers_own(tree: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may give files away")
    (tree / "root").touch()
    (tree / "daemon").touch()
    os.chown(tree / "root", 1, 1)
    os.chown(tree / "daemon", 2, 1001)
    found = members(tree)
    assert (found["root"].uid, found["root"].gid) == (0, 0)
    assert (found["daemon"].uid, found["daemon"].gid) == (1, 1000)


def test_what_overlayfs_removed_and_hid_is_said_by_names(tree: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may make devices outside of a node")
    os.mknod(tree / "gone", stat.S_IFCHR, os.makedev(0, 0))
    (tree / "d").mkdir()
    os.setxattr(tree / "d", "user.overlay.opaque", b"y")
    (tree / "d/also").touch()
    os.setxattr(tree / "d/also", "user.overlay.whiteout", b"y")
    (tree / "plain").mkdir()
    os.setxattr(tree / "plain", "user.overlay.origin", b"\x00")
    os.setxattr(tree / "plain", "user.colour", b"gr\xfcn")
    found = members(tree)
    assert list(found) == [".", "d", "d/.wh..wh..opq", "d/.wh.also", ".wh.gone", "plain"]
    assert list(found["plain"].pax_headers) == ["SCHILY.xattr.user.colour"]
    assert b"SCHILY.xattr.user.colour=gr\xfcn\n" in packed(tree)


def test_linked_files_stay_one(tree: Path) -> None:
    (tree / "b").write_text("content")
    os.link(tree / "b", tree / "a")
    found = members(tree)
    assert found["a"].isreg() and found["b"].islnk() and found["b"].linkname == "a"


def test_capabilities_lose_the_namespace_that_they_were_given_in() -> None:
    bound = struct.pack("<IIIIII", 3 << 24 | 1, 1 << 10, 0, 0, 0, 1)
    assert tar._unbound(bound) == struct.pack("<IIIII", 2 << 24 | 1, 1 << 10, 0, 0, 0)
    assert tar._unbound(bound[:20]) != bound and tar._unbound(struct.pack("<IIIII", 2 << 24, 0, 0, 0, 0))[3] == 2


@pytest.mark.parametrize("name", ["x" * 100, "y" * 101, "d/" + "z" * 200, "ü" * 60, "a\nb", "=", "\udcff\udcfe"])
def test_every_name_arrives(tree: Path, name: str) -> None:
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text(name, errors="surrogateescape")
    (tree / "to").symlink_to(name)
    with tarfile.open(fileobj=io.BytesIO(packed(tree)), errors="surrogateescape") as file:
        member = file.getmember(name)
        content = file.extractfile(member)
        assert content is not None and content.read() == os.fsencode(name)
        assert file.getmember("to").linkname == name


def test_large_sizes_and_times_before_the_epoch_do_not_fit_into_the_plain_header() -> None:
    blocks = tar.header(tar.Head(b"a", size=9 * 2**30, time=-5))
    with tarfile.open(fileobj=io.BytesIO(blocks), mode="r|") as file:
        member = file.next()
        assert member is not None and (member.name, member.size, member.mtime) == ("a", 9 * 2**30, -5)


def test_a_file_that_changes_under_the_hands_is_noticed(tree: Path) -> None:
    (tree / "log").write_text("x")

    def grow(_: bytes) -> None:
        with (tree / "log").open("a") as file:
            file.write("more")

    with pytest.raises(exception.DataLossError, match="changed"):
        tar.layer(tree, grow)


def test_a_name_that_only_means_a_removal_is_refused(tree: Path) -> None:
    (tree / ".wh.strange").touch()
    with pytest.raises(exception.ExecutionError, match="no place"):
        packed(tree)


# -- the archive --


def plan(*trees: Path) -> archive.Plan:
    return {
        "layers": [str(tree) for tree in trees], "config": archive.config(RECORD, STEPS),
        "reference": "localhost/x:y", "size": 1,
    }  # fmt: skip


def written(*trees: Path) -> bytes:
    out = io.BytesIO()
    archive.write(plan(*trees), out.write, lambda done, of: None)
    return out.getvalue()


@pytest.fixture
def trees(tmp_path: Path) -> list[Path]:
    made = []
    for name in ("lower", "upper"):
        made.append(tmp_path / name)
        made[-1].mkdir()
        (made[-1] / name).write_text(name)
    return made


def test_blobs_have_the_digests_that_are_said(trees: list[Path]) -> None:
    with tarfile.open(fileobj=io.BytesIO(written(*trees))) as file:
        blobs = {m.name: file.extractfile(m).read() for m in file.getmembers()}  # type: ignore[union-attr]
    for name, content in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"

    def blob(described: dict[str, Any]) -> bytes:
        content = blobs["blobs/" + described["digest"].replace(":", "/")]
        assert len(content) == described["size"]
        return content

    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "localhost/x:y"}
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert blob(manifest["layers"][1]) == packed(trees[1])


def test_the_config_says_how_to_run_it_and_how_it_came_to_be() -> None:
    config = archive.config(RECORD, STEPS)
    assert config["config"]["Env"][0] == "A=1" and config["config"]["Env"][1].startswith("PATH=/")
    assert config["config"]["WorkingDir"] == "/srv" and config["config"]["Cmd"] == ["sleep", "9"]
    assert config["config"]["Entrypoint"] == ["tini", "--"] and config["created"] == "1970-01-01T00:00:03Z"
    assert [(one["created_by"], one.get("empty_layer", False)) for one in config["history"]] == [
        ("debian_slim", False), ("ENV A", True), ("echo 1", False)
    ]  # fmt: skip


def test_history_and_layers_never_disagree() -> None:
    assert len(archive.config(RECORD, STEPS[:1])["history"]) == 2


def test_the_same_image_gives_the_same_archive(trees: list[Path], tmp_path: Path) -> None:
    before = written(*trees)
    for tree in trees:
        shutil.copytree(tree, tmp_path / "copies" / tree.name)
    assert written(*(tmp_path / "copies" / tree.name for tree in trees)) == before


def run(given: archive.Plan, **how: Any) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "windlass.worker.images.archive"]
    return subprocess.run(line, input=json.dumps(given).encode(), capture_output=True, check=False, timeout=60, **how)


def test_the_program_writes_the_archive_and_says_how_far_it_is(trees: list[Path]) -> None:
    done = run(plan(*trees))
    assert done.returncode == 0 and done.stdout == written(*trees)
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["done"] == last["of"] > 0


def test_the_program_says_what_is_wrong(trees: list[Path]) -> None:
    (trees[1] / ".wh.strange").touch()
    done = run(plan(*trees))
    assert done.returncode == 1 and ".wh.strange" in json.loads(done.stderr.splitlines()[-1])["error"]


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    import resource

    (tmp_path / "large").mkdir()
    with (tmp_path / "large/zeros").open("wb") as file:
        file.truncate(1024**3)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20, 400 * 2**20))

    line = [sys.executable, "-m", "windlass.worker.images.archive"]
    given = json.dumps(plan(tmp_path / "large")).encode()
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          preexec_fn=limited) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(given)
        process.stdin.close()
        size = 0
        while piece := process.stdout.read(1 << 20):
            size += len(piece)
    assert process.returncode == 0 and size > 1024**3


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_it_and_finds_every_digest_right(trees: list[Path], tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(written(*trees))
    source = f"oci-archive:{tmp_path}/image.tar"
    for words in (["inspect", "--config", source], ["copy", "--insecure-policy", source, f"dir:{tmp_path}/copied"]):
        subprocess.run(["skopeo", *words], capture_output=True, check=True)
