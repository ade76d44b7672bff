"""A backup comes back whole or not at all, whatever is wrong with it and whenever it is killed."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import sqlite3
import stat
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from windlass import exception, paths
from windlass.cli.backups import making, parts, places, restoring
from windlass.server.objects import gate
from windlass.server.store import database

LAYER = "volumes/vl-0000000000000000000000/files"


@pytest.fixture
def home(tmp_path) -> Path:
    """A home with one thing of each kind."""
    root = tmp_path / "home"
    (root / "db").mkdir(parents=True)
    (root / "db/key").write_bytes(b"secret key")
    (root / "db/key").chmod(0o600)
    db = database.Database(str(root / parts.DATABASE))
    db.run("INSERT INTO web_domain (name, created_at) VALUES ('kept.example', 1.0)")
    db.close()
    (root / "blobs/ab").mkdir(parents=True)
    (root / "blobs/ab/abcd").write_bytes(b"blob" * 1000)
    (root / "blobs/incoming").mkdir()
    (root / "blobs/incoming/half").write_text("half")
    (root / LAYER / "folder").mkdir(parents=True)
    (root / LAYER / "folder/a").write_text("one")
    (root / LAYER / "b").hardlink_to(root / LAYER / "folder/a")
    (root / LAYER / "link").symlink_to("/nowhere")
    (root / LAYER / os.fsdecode(b"strange \xff\n name")).write_text("x")
    (root / LAYER / "folder").chmod(0o2750)
    os.chown(root / LAYER / "folder/a", 1_900_000_000, 1_900_000_004)
    os.setxattr(root / LAYER / "folder", "user.overlay.opaque", b"y")
    rights = b"\1\0\0\2" + (1 << 13).to_bytes(4, "little") + bytes(12)  # of a program like ping
    os.setxattr(root / LAYER / "b", "security.capability", rights)
    os.mknod(root / LAYER / "gone", stat.S_IFCHR | 0o600, 0)
    (root / "layers/im-1").mkdir(parents=True)
    (root / "layers/im-1/meta.json").write_text("{}")
    (root / "remote.json").write_text('{"listen": "127.0.0.1:8643"}')
    return root


def seen(root: Path) -> dict[str, tuple]:
    """All that matters of what is below a home's state."""
    found = {}
    for name in ("blobs", "volumes", "nfs", "db/key", "remote.json"):
        for path in [root / name, *sorted((root / name).rglob("*"))]:
            if not path.is_symlink() and not path.exists():
                continue
            state = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            xattrs = [] if path.is_symlink() else sorted(os.listxattr(path))
            found[str(path.relative_to(root))] = (
                state.st_mode, state.st_uid, state.st_gid, state.st_mtime_ns, content, xattrs,
            )  # fmt: skip
    return {path: what for path, what in found.items() if "incoming" not in path and path != "blobs"}


def domains(root: Path) -> list[str]:
    with sqlite3.connect(root / parts.DATABASE) as db:
        return [name for (name,) in db.execute("SELECT name FROM web_domain ORDER BY name")]


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.gz", "folder"])
def test_everything_comes_back_as_it_was_in_another_home(home, tmp_path, name):
    target, other = tmp_path / name, tmp_path / "other"
    making.make(home, target)
    restoring.restore(restoring.chosen(target), other)
    assert seen(other) == seen(home) and domains(other) == ["kept.example"]
    assert (other / LAYER / "b").stat().st_ino == (other / LAYER / "folder/a").stat().st_ino
    assert not (other / "layers").exists() and not list(other.glob(".re*"))


def test_what_of_a_volume_cannot_be_read_any_more_is_left_out_once_it_is_marked(home, tmp_path, monkeypatch):
    lost = home / LAYER / "folder/lost"
    lost.write_text("lost")
    opened = Path.open

    def failing(path: Path, *arguments, **options):
        if path == lost:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(exception.DataLossError, match="folder/lost"):
        making.make(home, tmp_path / "backup.tar")
    (home / LAYER).with_name("damaged.json").write_text('["folder/lost"]')
    making.make(home, tmp_path / "backup.tar")
    restoring.restore(restoring.chosen(tmp_path / "backup.tar"), tmp_path / "other")
    layer = tmp_path / "other" / LAYER
    assert not (layer / "folder/lost").exists() and (layer / "folder/a").exists()
    assert json.loads(layer.with_name("damaged.json").read_text()) == ["folder/lost"], "it is refused there, too"


def test_folders_as_deep_as_containers_make_them_stop_no_backup(home, tmp_path):
    for name, depth in (("d", 1100), ("l" * 200, 60)):
        here = os.open(home, os.O_RDONLY)
        for inner in ["nfs", "nf-deep", "files", *[name] * depth]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(inner, dir_fd=here)
            beyond = os.open(inner, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = beyond
        os.close(os.open("inmost", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        os.close(here)
    target, other = tmp_path / "folder", tmp_path / "other"
    made = making.make(home, target)
    assert [len(path) for path in made.left] == [len("nfs/nf-deep/files") + 19 * 201], "what nobody can name is told of"
    restoring.restore(restoring.chosen(target), other)
    place = other / "nfs/nf-deep/files" / "/".join(["d"] * 1100)
    assert [path.name for path in place.iterdir()] == ["inmost"]
    subprocess.run(["rm", "-rf", home, target, other], check=True)  # no library's own means would


def test_a_file_that_got_the_number_of_one_that_is_gone_is_not_taken_for_it(home, tmp_path, monkeypatch):
    one, other = home / "nfs/nf-9/files/one", home / "nfs/nf-9/files/two"
    one.parent.mkdir(parents=True)
    for path, text in ((one, "first"), (other, "another")):
        path.write_text(text)
        os.link(path, path.with_suffix(".too"))
    states = {path: path.stat() for path in (one, other)}
    stat_of = Path.stat

    def same_number(path: Path, **options: Any) -> os.stat_result:
        state = stat_of(path, **options)
        if path.parent == one.parent:  # as if "one" had been removed before "two" was made
            values = list(state.__reduce__()[1][0])
            values[1] = states[one].st_ino
            return os.stat_result(values, state.__reduce__()[1][1])
        return state

    monkeypatch.setattr(Path, "stat", same_number)
    making.make(home, tmp_path / "b.tar")
    monkeypatch.undo()
    restoring.restore(restoring.chosen(tmp_path / "b.tar"), tmp_path / "back")
    assert [(tmp_path / "back/nfs/nf-9/files" / name).read_text() for name in ("one", "two")] == ["first", "another"]


def test_a_backup_can_be_read_by_its_owner_alone(home, tmp_path):
    making.make(home, tmp_path / "b.tar")
    making.make(home, tmp_path / "folder")
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    (one,) = places.backups(tmp_path / "folder")
    assert stat.S_IMODE(one.stat().st_mode) == 0o700
    assert stat.S_IMODE((one / "tree/db/key").stat().st_mode) == 0o600


def test_a_second_backup_in_the_same_folder_holds_only_once_what_did_not_change(home, tmp_path):
    target = tmp_path / "folder"
    making.make(home, target)
    (home / "blobs/ab/abce").write_bytes(b"new")
    making.make(home, target, images=True)
    first, second = places.backups(target)
    assert (first / "tree/blobs/ab/abcd").stat().st_ino == (second / "tree/blobs/ab/abcd").stat().st_ino
    assert (second / "tree/blobs/ab/abce").read_bytes() == b"new" and (second / "tree/layers/im-1/meta.json").exists()
    restoring.restore(first, tmp_path / "then")
    restoring.restore(second, tmp_path / "now")
    assert not (tmp_path / "then/blobs/ab/abce").exists() and seen(tmp_path / "now") == seen(home)


def test_a_damaged_or_cut_or_newer_backup_changes_nothing(home, tmp_path):
    good, bad, other = tmp_path / "b.tar", tmp_path / "bad.tar", tmp_path / "other"
    making.make(home, good)
    whole = good.read_bytes()

    def refuses(data: bytes, error: type[exception.Error]) -> None:
        bad.write_bytes(data)
        before = seen(home), domains(home)
        for place in (other, home):
            with pytest.raises(error) as caught:
                restoring.restore(bad, place)
            assert caught.value.hint or "no backup" in str(caught.value)
        assert not list(other.iterdir()) and (seen(home), domains(home)) == before and not list(home.glob(".re*"))

    refuses(b"", exception.DataLossError)
    refuses(b"not an archive" * 100, exception.DataLossError)
    refuses(gzip.compress(whole)[:-2000], exception.DataLossError)
    for size in range(512, len(whole) - 10240, len(whole) // 12 & ~511):
        refuses(whole[:size], exception.DataLossError)
    at = whole.index(b"blobblob")
    refuses(whole[:at] + b"X" + whole[at + 1 :], exception.DataLossError)
    refuses(whole.replace(b'"format": 1', b'"format": 9'), exception.VersionError)
    schema = len(database.migrations())
    refuses(whole.replace(b'"schema": %d' % schema, b'"schema": 99'), exception.VersionError)
    refuses(whole.replace(b'"path": "blobs/ab/abcd"', b'"path": "../../../abcd"'), exception.DataLossError)


def test_a_restore_replaces_what_was_there_and_keeps_images(home, tmp_path):
    making.make(home, tmp_path / "b.tar")
    with sqlite3.connect(home / parts.DATABASE) as db:
        db.execute("INSERT INTO web_domain (name, created_at) VALUES ('later.example', 2.0)")
    (home / "nfs/nf-1").mkdir(parents=True)
    (home / "blobs/ab/later").write_text("later")
    restoring.restore(tmp_path / "b.tar", home)
    assert domains(home) == ["kept.example"] and not (home / "blobs/ab/later").exists() and not (home / "nfs").exists()
    assert (home / "layers/im-1/meta.json").exists() and not list(home.glob(".re*"))


def test_a_restore_that_is_killed_at_any_step_is_finished_later_or_has_not_begun(home, tmp_path, monkeypatch):
    making.make(home, tmp_path / "b.tar")
    with sqlite3.connect(home / parts.DATABASE) as db:
        db.execute("INSERT INTO web_domain (name, created_at) VALUES ('later.example', 2.0)")
    rename, steps = Path.rename, iter(range(1000))

    class Killed(BaseException):
        pass

    for at in range(20):
        left = at

        def dying(path: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return rename(path, target)

        other = tmp_path / f"other-{next(steps)}"
        other.mkdir()
        for name in ("db", "blobs", "volumes", "layers"):
            os.system(f"cp -a {home / name} {other / name}")
        monkeypatch.setattr(Path, "rename", dying)
        try:
            restoring.restore(tmp_path / "b.tar", other)
        except Killed:
            killed = True
        else:
            killed = False
        monkeypatch.setattr(Path, "rename", rename)
        assert paths.unfinished_restore(other).exists() == killed
        assert restoring.finish(other) == killed
        assert domains(other) == ["kept.example"] and seen(other) == seen(home) and not list(other.glob(".re*"))
        if not killed:
            break
    assert at > 4


def test_nothing_is_deleted_while_a_backup_is_made_and_no_two_are_made_at_once(home, tmp_path):
    one = gate.of(home)
    with one.shut(1.0):
        with gate.of(home).passing() as may:
            assert not may
        with pytest.raises(exception.ConflictError, match="another backup"):
            with gate.of(home).shut(0.05):
                pass
    with gate.of(home).passing() as may:
        assert may
        thread = threading.Thread(target=making.make, args=(home, tmp_path / "b.tar"))
        thread.start()
        assert not (tmp_path / "b.tar").exists()
    thread.join(10)
    assert (tmp_path / "b.tar").exists()


def test_a_home_without_state_and_a_folder_without_backups_are_named(tmp_path):
    with pytest.raises(exception.NotFoundError, match="no state"):
        making.make(tmp_path, tmp_path / "b.tar")
    with pytest.raises(exception.NotFoundError, match="no whole backup"):
        restoring.chosen(tmp_path)


def forged(home: Path, target: Path, *extra: dict, head: dict | None = None, files: dict[str, bytes] | None = None):
    """A backup of ``home`` to which somebody added something, with digests that are right."""
    making.make(home, target)
    with tarfile.open(target) as tar:
        inside = [(member.name, tar.extractfile(member).read()) for member in tar]
    lines = dict(inside)[places.FILES] + b"".join(json.dumps(one).encode() + b"\n" for one in extra)
    changed = {
        places.FILES: lines,
        places.SEAL: json.dumps({"files": hashlib.sha256(lines).hexdigest(), "size": len(lines)}).encode(),
        places.HEAD: json.dumps({**json.loads(dict(inside)[places.HEAD]), **(head or {})}).encode(),
    }
    more = [(places.TREE + name, data) for name, data in (files or {}).items()]
    with tarfile.open(target, "w") as tar:
        for name, data in [*inside[:-2], *more, *inside[-2:]]:
            info = tarfile.TarInfo(name)
            info.size = len(changed.get(name, data))
            tar.addfile(info, io.BytesIO(changed.get(name, data)))
    return target


_DIGEST = hashlib.sha256(b"x").hexdigest()
_FOLDER = {"kind": "folder", "mode": 0o777}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([{"path": "blobs/out", "kind": "link", "target": "{}"}], "a link"),
        ([{"path": "volumes/vl-x", "kind": "link", "target": "{}"}], "a link"),
        ([{"path": f"{LAYER}/out", "kind": "link", "target": "{}"},
          {"path": f"{LAYER}/out/f", **_FOLDER}], "no folder"),
        ([{"path": f"{LAYER}/out", "kind": "link", "target": "{}"}, {"path": f"{LAYER}/out", **_FOLDER}], "twice"),
        ([{"path": f"{LAYER}/out", "kind": "link", "target": "{}"},
          {"path": f"{LAYER}/s", "kind": "same", "target": f"{LAYER}/out/secret"}], "no folder"),
        ([{"path": f"{LAYER}/s", "kind": "same", "target": f"{LAYER}/link"}], "no file"),
        ([{"path": "db/more", "kind": "same", "target": f"{LAYER}/folder/a"}], "another name"),
        ([{"path": f"{LAYER}/key", "kind": "same", "target": "db/key"}], "another name"),
        ([{"path": f"{LAYER}/disk", "kind": "device", "mode": 0o666, "target": "2048"}], "a device"),
        ([{"path": f"{LAYER}/disk", "kind": "device", "mode": 0o060666, "target": "0"}], "mode"),
        ([{"path": "blobs/gone", "kind": "device", "mode": 0o666, "target": "0"}], "a device"),
        ([{"path": "cron.d", **_FOLDER}], "no part"),
        ([{"path": "blobs/../../x", **_FOLDER}], "strange name"),
        ([{"path": "/etc/x", **_FOLDER}], "strange name"),
        ([{"path": f"{LAYER}//x", **_FOLDER}], "strange name"),
        ([{"path": f"{LAYER}/x", **_FOLDER, "uid": -1_899_999_999}], "owner"),
        ([{"path": f"{LAYER}/x", **_FOLDER, "uid": 70_000}], "owned by"),
        ([{"path": f"{LAYER}/x", **_FOLDER, "xattrs": {"trusted.overlay.opaque": "eQ=="}}], "marked with"),
        ([{"path": f"{LAYER}/x", "kind": "fifo"}], "unknown kind"),
    ],
)  # fmt: skip
def test_a_backup_of_a_stranger_reaches_nothing_beyond_the_home(home, tmp_path, extra, said):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("mine")
    before = [(path, path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_nlink) for path in outside.rglob("*")]
    told = [{**one, "target": one["target"].replace("{}", str(outside))} if "target" in one else one for one in extra]
    bad = forged(home, tmp_path / "bad.tar", *told)
    with pytest.raises(exception.DataLossError, match=said):
        restoring.restore(bad, tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())
    now = [(path, path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_nlink) for path in outside.rglob("*")]
    assert now == before and stat.S_IMODE(outside.stat().st_mode) == 0o700


def test_a_backup_replaces_only_parts_of_a_home_and_has_nothing_that_it_does_not_name(home, tmp_path):
    bad = forged(home, tmp_path / "bad.tar", head={"parts": [*parts.STATE, "../outside"]})
    with pytest.raises(exception.DataLossError, match="no part"):
        restoring.restore(bad, tmp_path / "other")
    bad = forged(home, tmp_path / "worse.tar", files={"db/more": b"x"})
    with pytest.raises(exception.DataLossError, match="does not name"):
        restoring.restore(bad, tmp_path / "other")


def test_rights_in_a_backup_hold_in_containers_and_not_on_this_machine(home, tmp_path):
    rights = base64.b64encode(b"\1\0\0\2" + (1 << 21).to_bytes(4, "little") + bytes(12)).decode()
    names = {f"{LAYER}/own": 0, f"{LAYER}/theirs": 7, "blobs/ab/run": 7}
    listed = [
        {"path": path, "kind": "file", "mode": 0o6755, "uid": uid, "gid": uid, "digest": _DIGEST, "size": 1,
         **({"xattrs": {"security.capability": rights}} if uid and "vl-" in path else {})}
        for path, uid in names.items()
    ]  # fmt: skip
    restoring.restore(forged(home, tmp_path / "b.tar", *listed, files=dict.fromkeys(names, b"x")), tmp_path / "other")
    modes = [stat.S_IMODE((tmp_path / "other" / path).stat().st_mode) for path in names]
    assert [oct(mode) for mode in modes] == ["0o755", "0o6755", "0o755"]
    kept = os.getxattr(tmp_path / "other" / LAYER / "theirs", "security.capability")
    assert len(kept) == 24 and int.from_bytes(kept[20:], "little") == 1_900_000_000, "root is that of containers"
