"""Volumes: what one container commits, others see when they look; nothing else, and nothing less."""

from __future__ import annotations

import concurrent.futures
import io
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from click import testing

import windlass
from stage import Ran, until
from windlass.cli import volume as volume_commands
from windlass.volume import FileEntryType

PLACE = "/data"
app = windlass.App("test-volumes")


@pytest.fixture(autouse=True)
def an_app_for_each_test():
    """Volumes are gone after their test, so functions that mount them must be, too."""
    global app
    app = windlass.App("test-volumes")


def work(steps):
    """Do what each step says below the mount, and return what it saw."""
    import os
    import pathlib
    import shutil
    import time

    import windlass

    handles = []
    seen = []
    volume = windlass.Volume.from_id(steps[0]) if steps[0] else None
    for step, *arguments in steps[1:]:
        try:
            if step == "write":
                path = pathlib.Path(arguments[0])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(arguments[1])
            elif step == "read":
                seen.append(pathlib.Path(arguments[0]).read_text())
            elif step == "list":
                seen.append(sorted(os.path.join(d, f) for d, _, fs in os.walk(arguments[0]) for f in fs))
            elif step == "open":
                handles.append(open(arguments[0], "a"))
                handles[-1].write(arguments[1])
                handles[-1].flush()
            elif step == "close":
                handles.pop().close()
            elif step == "chdir":
                os.chdir(arguments[0])
            elif step == "wait":
                deadline = time.monotonic() + 60
                while not os.path.exists(arguments[0]) and time.monotonic() < deadline:
                    time.sleep(0.02)
            elif step == "until_gone":
                deadline = time.monotonic() + 60
                while os.path.exists(arguments[0]) and time.monotonic() < deadline:
                    time.sleep(0.02)
            elif step == "rmtree":
                shutil.rmtree(arguments[0])
            elif step == "rename":
                os.rename(*arguments)
            elif step == "symlink":
                os.symlink(*arguments)
            elif step == "unlink":
                os.unlink(arguments[0])
            elif step == "kill":
                os.kill(os.getpid(), 9)
            elif step == "wait_for":
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    volume.reload()
                    if os.path.exists(arguments[0]):
                        break
                    time.sleep(0.02)
            else:
                getattr(volume, step)()
        except Exception as exc:
            seen.append(f"{type(exc).__name__}: {exc}")
    return seen


def function(volume, path=PLACE, **options):
    """A function that works below a mount of ``volume``, in a container of its own for each call."""
    mounted = volume if isinstance(volume, dict) else {path: volume}
    return app.function(
        serialized=True, volumes=mounted, name=f"work-{uuid.uuid4().hex[:8]}", single_use_containers=True, **options
    )(work)


@pytest.fixture
def volume():
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    windlass.Volume.objects.delete(name, allow_missing=True)


def put(volume, **files):
    with volume.batch_upload(force=True) as batch:
        for name, text in files.items():
            batch.put_file(io.BytesIO(text.encode()), name)


def read(volume, path):
    return b"".join(volume.read_file(path)).decode()


def test_what_one_container_commits_another_reads_and_its_view_is_its_own(stage, volume):
    put(volume, old="before")
    reader, writer = function(volume), function(volume)
    with app.run():
        looking = reader.spawn(
            [volume.object_id, ("list", PLACE), ("wait_for", "/data/new"), ("read", "/data/new"), ("read", "/data/old")]
        )
        seen = writer.remote(
            [
                volume.object_id,
                ("write", "/data/new", "fresh"),
                ("write", "/data/old", "after"),
                ("commit",),
                ("read", "/data/new"),
            ]
        )
        assert seen == ["fresh"]
        assert looking.get() == [["/data/old"], "fresh", "after"]
    assert read(volume, "new") == "fresh"


def test_the_last_commit_happens_when_the_container_ends_even_by_a_kill(stage, volume):
    quiet, killed = function(volume), function(volume, retries=0)
    with app.run():
        quiet.remote([None, ("write", "/data/a/quiet", "1")])
        with pytest.raises(windlass.Error):
            killed.remote([None, ("write", "/data/a/killed", "2"), ("kill",)])
    wanted = ["a", "a/killed", "a/quiet"]
    until(lambda: sorted(entry.path for entry in volume.iterdir("/")) == wanted, what="the last commits")
    assert read(volume, "a/killed") == "2"


def test_a_reload_says_which_path_keeps_the_volume_busy_and_a_commit_does_not_mind(stage, volume):
    put(volume, file="x")
    busy = function(volume)
    with app.run():
        seen = busy.remote(
            [
                volume.object_id,
                ("open", "/data/file", "y"),
                ("reload",),
                ("commit",),
                ("close",),
                ("reload",),
                ("read", "/data/file"),
                ("chdir", "/data"),
                ("reload",),
                ("chdir", "/"),
                ("open", "/data/file", "z"),
                ("commit",),
                ("close",),
                ("unlink", "/data/file"),
                ("commit",),
                ("list", PLACE),
            ]
        )
    assert seen[0].startswith("RuntimeError: volume busy") and "/data/file is open" in seen[0]
    assert seen[1] == "xy"
    assert "/data is a working directory" in seen[2]
    assert seen[3:] == [[]]
    assert volume.listdir("/") == []


def test_concurrent_commits_merge_by_file_with_deletions_and_renames(stage, volume):
    put(volume, **{"d/one": "1", "d/two": "2", "keep": "k"})
    first, second = function(volume), function(volume)
    with app.run():
        removing = first.spawn(
            [
                volume.object_id,
                ("rmtree", "/data/d"),
                ("write", "/data/d/mine", "m"),
                ("rename", "/data/keep", "/data/kept"),
                ("write", "/data/draft/checkpoint", "c"),
                ("commit",),
                ("rename", "/data/draft", "/data/done"),  # the kernel refuses it: the commit has taken it
            ]
        )
        assert removing.get() == []
        seen = second.remote(
            [volume.object_id, ("write", "/data/d/theirs", "t"), ("write", "/data/d/two", "again"), ("commit",)]
        )
    assert seen == []
    wanted = {"d", "d/mine", "d/theirs", "d/two", "kept", "done", "done/checkpoint"}
    until(lambda: {entry.path for entry in volume.iterdir("/")} == wanted, what="the last commits")


def test_a_folder_that_is_removed_leaves_what_others_put_there_meanwhile(stage, volume):
    put(volume, **{"d/one": "1", "d/sub/two": "2", "signal": ""})
    quick = function(volume)
    other = windlass.Volume.from_name(f"signal-{uuid.uuid4().hex[:8]}", create_if_missing=True).hydrate()
    slow = function({PLACE: volume, "/signal": other})
    with app.run():
        removing = slow.spawn(
            [
                other.object_id,
                ("rmtree", "/data/d"),
                ("write", "/data/d/mine", "m"),
                ("write", "/signal/ready", ""),
                ("commit",),
                ("wait_for", "/signal/go"),
            ]
        )
        until(lambda: other.listdir("/"), 60, "its word")
        deep = ("write", "/data/d/sub/x/deep", "d")
        quick.remote([volume.object_id, ("write", "/data/d/new", "n"), deep, ("commit",)])
        put(other, go="")
        removing.get()
    windlass.Volume.objects.delete(other.name)

    def files():
        return {entry.path for entry in volume.iterdir("/") if entry.type == FileEntryType.FILE}

    wanted = {"d/mine", "d/new", "d/sub/x/deep", "signal"}
    until(lambda: files() == wanted, what="the last commits")


def test_many_containers_commit_at_once_and_nothing_is_lost(stage, volume):
    many = app.function(serialized=True, volumes={PLACE: volume}, name="many", max_containers=20)(work)
    with app.run():
        steps = [[volume.object_id, ("write", f"/data/n/{n}", str(n)), ("commit",)] for n in range(20)]
        assert list(many.map(steps)) == [[]] * 20
    assert {entry.path for entry in volume.iterdir("/n")} == {f"n/{n}" for n in range(20)}
    history = stage.json("volume", "history", volume.name)
    assert len(history) >= 20


def test_read_only_and_sub_path_cannot_be_left(stage, volume):
    put(volume, **{"in/file": "i", "secret": "s"})
    fixed = function(volume.with_mount_options(read_only=True))
    part = function(volume.with_mount_options(sub_path="in"))
    fresh = function(volume.with_mount_options(sub_path="made/new"))
    with app.run():
        steps = [("write", "/data/x", ""), ("commit",), ("reload",), ("read", "/data/secret")]
        seen = fixed.remote([volume.object_id, *steps])
        with windlass.Volume.ephemeral() as other:
            [refused] = fixed.remote([other.object_id, ("commit",)])
        assert refused.startswith("RuntimeError: this container does not mount volume")
        assert "Read-only file system" in seen[0] and seen[1].startswith("RuntimeError: ") and seen[2] == "s"
        seen = part.remote(
            [
                volume.object_id,
                ("list", PLACE),
                ("symlink", "../secret", "/data/link"),
                ("read", "/data/link"),
                ("read", "/data/../data/../secret"),
                ("write", "/data/more", "m"),
                ("commit",),
                ("list", PLACE),
            ]
        )
        assert seen[0] == ["/data/file"]
        assert "FileNotFoundError" in seen[1] and "FileNotFoundError" in seen[2]
        assert seen[3] == ["/data/file", "/data/link", "/data/more"]
        assert fresh.remote([volume.object_id, ("write", "/data/f", "f"), ("commit",)]) == []
    assert read(volume, "in/more") == "m" and read(volume, "made/new/f") == "f"
    with pytest.raises(FileNotFoundError):
        read(volume, "in/link/x")


def test_files_come_and_go_from_outside_without_any_container(stage, volume, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/small").write_text("small")
    (tmp_path / "tree/large").write_bytes(os.urandom(3_000_000))
    (tmp_path / "tree/script").write_text("#!/bin/sh\n")
    (tmp_path / "tree/script").chmod(0o755)
    with volume.batch_upload() as batch:
        batch.put_directory(tmp_path / "tree", "/up")
        batch.put_file(io.BytesIO(b"object"), "/object")
    assert [entry.path for entry in volume.listdir("/")] == ["object", "up"]
    [large] = volume.listdir("/up/large")
    assert (large.path, large.type, large.size) == ("up/large", FileEntryType.FILE, 3_000_000)
    copy = io.BytesIO()
    assert volume.read_file_into_fileobj("up/large", copy) == 3_000_000
    assert copy.getvalue() == (tmp_path / "tree/large").read_bytes()
    volume.copy_files(["up/sub/small", "object"], "up")
    volume.copy_files(["up"], "again", recursive=True)
    assert read(volume, "again/small") == "small" and read(volume, "again/sub/small") == "small"
    volume.remove_file("up", recursive=True)
    volume.remove_file("/object")
    assert {entry.path for entry in volume.iterdir("/", recursive=False)} == {"again"}
    reader = function(volume)
    with app.run():
        seen = reader.remote([None, ("read", "/data/again/script"), ("write", "/data/again/small", "w")])
    assert seen == ["#!/bin/sh\n"]


def test_bad_input_is_refused_and_changes_nothing(stage, volume, tmp_path):
    put(volume, **{"file": "f", "folder/file": "g"})
    before = list(volume.iterdir("/"))

    def refused(error, call):
        with pytest.raises(error):
            call()

    def upload(remote, source=None, force=False):
        with volume.batch_upload(force=force) as batch:
            batch.put_file(source or io.BytesIO(b"new"), remote)

    refused(FileExistsError, lambda: upload("file"))
    refused(FileExistsError, lambda: upload("folder", force=True))
    refused(FileExistsError, lambda: upload("file/below", force=True))
    refused(ValueError, lambda: upload("name/"))
    refused(windlass.exception.InvalidError, lambda: upload("../out"))
    refused(FileNotFoundError, lambda: upload("x", tmp_path / "missing"))
    refused(windlass.exception.InvalidError, lambda: upload("n" * 300))
    refused(windlass.exception.InvalidError, lambda: volume.listdir("/folder/*"))
    refused(FileNotFoundError, lambda: volume.listdir("/missing"))
    refused(FileNotFoundError, lambda: read(volume, "missing"))
    refused(windlass.exception.InvalidError, lambda: read(volume, "folder"))
    refused(FileNotFoundError, lambda: volume.remove_file("missing"))
    refused(windlass.exception.InvalidError, lambda: volume.remove_file("folder"))
    refused(FileNotFoundError, lambda: volume.copy_files(["missing"], "x"))
    refused(windlass.exception.InvalidError, lambda: volume.copy_files(["folder"], "x"))
    refused(windlass.exception.InvalidError, lambda: volume.read_only().remove_file("file"))
    refused(RuntimeError, volume.commit)
    with pytest.raises(ZeroDivisionError), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b""), "never")
        raise ZeroDivisionError
    assert list(volume.iterdir("/")) == before
    refused(windlass.exception.NotFoundError, windlass.Volume.from_name("test-missing").hydrate)
    refused(windlass.exception.InvalidError, lambda: windlass.Volume.from_name(volume.name, version=2).hydrate())
    refused(windlass.exception.AlreadyExistsError, lambda: windlass.Volume.objects.create(volume.name))
    again = windlass.Volume.from_name(volume.name)
    function({"/a": volume, "/b": again})
    refused(windlass.exception.InvalidError, lambda: app.run().__enter__())


def test_names_with_odd_characters_survive(stage, volume):
    odd = ["a b", "näme", 'quote"\n', "back\\slash", "-rf", "%00", "\udcff"]
    writer = function(volume)
    with app.run():
        assert writer.remote([None, *[("write", f"/data/{name}", name) for name in odd[:-1]]]) == []
    until(lambda: {entry.path for entry in volume.iterdir("/")} == set(odd[:-1]), what="the last commit")
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"raw"), odd[-1])
    assert read(volume, odd[-1]) == "raw"


def test_links_never_lead_out_of_the_volume(stage, volume, tmp_path):
    writer = function(volume)
    with app.run():
        writer.remote(
            [
                None,
                ("symlink", "/etc", "/data/etc"),
                ("symlink", "../../../../../../etc/passwd", "/data/passwd"),
                ("symlink", "/", "/data/root"),
                ("write", "/data/blobs/1", "content"),
                ("symlink", "blobs/1", "/data/model"),
            ]
        )
    until(lambda: len(volume.listdir("/")) == 5, what="the last commit")
    for path in ("etc/passwd", "passwd", "root/etc/passwd", "etc"):
        with pytest.raises(FileNotFoundError):
            read(volume, path)
    with pytest.raises((FileNotFoundError, windlass.exception.InvalidError)), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b""), "etc/planted")
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"inside"), "root/planted")
    assert read(volume, "planted") == "inside"
    said = stage.cli("volume", "get", volume.name, "/", str(tmp_path / "back"), check=0).err
    assert "Left out" in said and all(name in said for name in ("etc", "passwd", "root")), "and what is there is whole"
    assert {path.name for path in (tmp_path / "back").iterdir()} == {"blobs", "model", "planted"}
    assert (tmp_path / "back/model").read_text() == "content" and not (tmp_path / "back/model").is_symlink()
    assert not Path("/etc/planted").exists() and not Path("/planted").exists()


def test_a_flipped_bit_is_detected_and_named(stage, volume):
    put(volume, good="g" * 1000, bad="b" * 1000)
    [file] = [path for path in (stage.home / "volumes").glob("*/files/bad") if path.stat().st_size == 1000]
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    assert read(volume, "good") == "g" * 1000
    with pytest.raises(windlass.exception.DataLossError, match="'bad'"):
        read(volume, "bad")


def test_a_deleted_volume_stays_as_it_is_where_it_is_mounted_but_takes_no_more(stage):
    name = f"test-{uuid.uuid4().hex[:12]}"
    volume = windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    signal = windlass.Volume.from_name(f"{name}-s", create_if_missing=True).hydrate()
    put(volume, file="f")
    slow = function({PLACE: volume, "/signal": signal})
    with app.run():
        call = slow.spawn(
            [
                signal.object_id,
                ("write", "/signal/ready", ""),
                ("commit",),
                ("wait_for", "/signal/go"),
                ("read", "/data/file"),
            ]
        )
        until(lambda: signal.listdir("/"), 60, "its word")
        windlass.Volume.delete(name)
        put(signal, go="")
        assert call.get() == ["f"]
    windlass.Volume.objects.delete(signal.name)
    with pytest.raises(windlass.exception.NotFoundError):
        volume.listdir("/")


def nest(path):
    """Folders in each other, deeper than a path can say."""
    import os

    here = os.open(path, os.O_RDONLY)
    for _ in range(1300):
        os.mkdir("folder", dir_fd=here)
        inner = os.open("folder", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner


def nest_and_remove(volume_id):
    import os
    import shutil

    import windlass

    volume = windlass.Volume.from_id(volume_id)
    os.makedirs("/data/" + "/".join(["x"] * 300))
    try:
        volume.commit()
        said = ""
    except windlass.exception.InvalidError as exc:
        said = str(exc)
    with open("/data/fine", "w") as file:
        file.write("fine")
    shutil.rmtree("/data/x")
    volume.commit()
    return said


def test_what_was_nested_too_deep_can_be_removed_and_the_rest_is_committed(stage, volume):
    removing = app.function(serialized=True, volumes={PLACE: volume})(nest_and_remove)
    with app.run():
        assert "nested 256 deep" in removing.remote(volume.object_id)
    assert [entry.path for entry in volume.listdir("/")] == ["fine"]


def test_folders_that_are_nested_too_deep_are_told_of_and_leave_nothing_behind(stage, volume):
    nesting = app.function(serialized=True, volumes={PLACE: volume}, single_use_containers=True)(nest)
    with app.run():
        nesting.remote(PLACE)
        nesting.remote("/root")

        def told() -> str:
            lines = stage.cli("app", "logs", app.app_id).text
            return lines if "not committed" in lines else ""

        lines = until(told, 30, "the container's log")
        assert f"What was written at {PLACE} is not committed: folders of a volume may be nested 256 deep" in lines
        assert lines.count("is not committed") == 1, "said once"
        until(lambda: not os.listdir(stage.home / "containers"), 30, "containers' folders to go")
    assert volume.listdir("/") == []


def test_ephemeral_volumes_and_handles_by_id_rename_and_info(stage):
    with windlass.Volume.ephemeral() as volume:
        put(volume, x="1")
        assert read(windlass.Volume.from_id(volume.object_id), "x") == "1"
    with pytest.raises(windlass.exception.NotFoundError):
        volume.listdir("/")
    windlass.Volume.objects.create("test-renamed-a", allow_existing=True)
    windlass.Volume.rename("test-renamed-a", "test-renamed-b")
    volume = windlass.Volume.from_name("test-renamed-b").hydrate()
    assert volume.info().name == "test-renamed-b"
    assert "test-renamed-b" in [one.name for one in windlass.Volume.objects.list()]
    windlass.Volume.objects.delete("test-renamed-b")


def test_everything_survives_a_restart_and_the_history_can_be_restored_and_forked(stage, volume):
    for n in range(3):
        put(volume, counter=str(n), **{f"f{n}": str(n)})
    stage.cli("server", "restart", check=0)
    assert read(volume, "counter") == "2"
    versions = stage.json("volume", "history", volume.name)
    assert [one["version"] for one in versions] == [3, 2, 1]
    stage.cli("volume", "fork", volume.name, f"{volume.name}-fork", "--version", "2", check=0)
    fork = windlass.Volume.from_name(f"{volume.name}-fork")
    assert {entry.path for entry in fork.listdir("/")} == {"counter", "f0", "f1"}
    stage.cli("volume", "restore", volume.name, "1", "--yes", check=0)
    assert {entry.path for entry in volume.listdir("/")} == {"counter", "f0"}
    put(fork, other="o")
    assert read(fork, "counter") == "1" and len(volume.listdir("/")) == 2
    windlass.Volume.objects.delete(fork.name)


def test_tall_stacks_are_merged_and_show_the_same(stage, volume):
    for n in range(20):
        put(volume, **{f"d/{n}": str(n), "same": str(n)})
        if n % 5 == 4:
            volume.remove_file(f"d/{n - 1}")
    wanted = {f"d/{n}" for n in range(20) if n % 5 != 3} | {"d", "same"}
    assert {entry.path for entry in volume.iterdir("/")} == wanted
    assert read(volume, "same") == "19" and read(volume, "d/0") == "0"


def test_the_command_line_does_all_of_it(stage, tmp_path):
    name = f"test-{uuid.uuid4().hex[:12]}"
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("content")

    def cli(*words, code=0):
        return stage.cli("volume", *words, check=code)

    cli("create", name)
    assert "already" in cli("create", name, code=1).err
    assert name in [one["name"] for one in stage.json("volume", "list")]
    cli("put", name, str(tmp_path / "tree"), "/tree")
    cli("put", name, str(tmp_path / "tree/sub/file"), "/tree/")
    assert "exists already" in cli("put", name, str(tmp_path / "tree/sub/file"), "/tree/", code=2).err
    cli("put", name, str(tmp_path / "tree/sub/file"), "/tree/", "--force")
    cli("put", name, str(tmp_path / "*"), code=2)
    assert cli("ls", name, "/tree").lines == ["tree/file", "tree/sub"]
    [row] = [one for one in stage.json("volume", "ls", name, "/tree") if one["filename"] == "tree/file"]
    assert (row["type"], row["size"]) == ("file", 7)
    cli("cp", name, "/tree/file", "/copy")
    assert cli("get", name, "copy", "-").out == "content"
    cli("get", name, "/tree", str(tmp_path / "back"))
    assert (tmp_path / "back/sub/file").read_text() == "content"
    cli("get", name, "/tree/file", str(tmp_path / "back/file"), code=2)
    cli("get", name, "/tree/file", str(tmp_path / "back/file"), "--force")
    assert "'missing'" in cli("get", name, "missing", code=1).err
    assert "Pass -r" in cli("rm", name, "/tree", code=1).err, "the hint names the command's option"
    cli("rm", name, "/tree", "-r")
    assert cli("ls", name).lines == ["copy"]
    cli("put", name, str(tmp_path / "tree"))
    cli("put", name, str(tmp_path / "tree"), "/below/")
    assert cli("ls", name).lines == ["below", "copy", "tree"], "a folder keeps its name, as a file does"
    assert cli("ls", name, "/below/tree/sub").lines == ["below/tree/sub/file"]
    usage = cli("put", name, str(tmp_path / "tree/sub/file"), ".", code=2).err
    assert "end it with a slash" in usage and "ValueError" not in usage
    odd = tmp_path / os.fsdecode(b"odd/\xff")
    odd.parent.mkdir()
    odd.write_text("odd")
    cli("put", name, str(odd.parent), "/odd")
    [listed] = stage.json("volume", "ls", name, "/odd")
    assert cli("get", name, listed["filename"], "-").out == "odd", "what is listed can be named again"
    ls = [sys.executable, "-m", "windlass", "volume", "ls", name, "/odd"]
    assert subprocess.run(ls, stdout=subprocess.PIPE, env=stage.environment, check=True).stdout == b"odd/\xff\n"
    cli("rename", name, f"{name}-b", "--yes")
    cli("delete", f"{name}-b", "--yes")
    cli("delete", f"{name}-b", "--yes", code=1)
    cli("delete", f"{name}-b", "--yes", "--allow-missing")


def test_what_lies_in_odd_places_comes_and_goes_and_versions_can_be_looked_at(stage, volume, tmp_path):
    """Links and empty folders on their way in and out, paths written otherwise, folders where a file shall be."""
    name, tree, back = volume.name, tmp_path / "odd", tmp_path / "odd-back"

    def cli(*words, code=0):
        ran = testing.CliRunner().invoke(volume_commands.group, words)  # without starting a program for each
        assert ran.exit_code == code, f"{words}: {ran.output} {ran.exception}"
        return Ran(ran.exit_code, ran.output, f"{ran.output}{ran.exception}")

    (tree / "empty/inner").mkdir(parents=True)
    (tree / "file").write_text("first")
    (tree / "link").symlink_to("file")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    cli("put", name, str(tree))
    before = cli("ls", name, "odd").lines
    assert before == ["odd/empty", "odd/file", "odd/link"]
    cli("put", name, str(tree / "link"), "/")
    assert "no plain file" in cli("put", name, str(tree / "pipe"), code=1).err
    (tree / "file").write_text("second")
    cli("put", name, str(tree / "file"), "/odd/", "--force")
    history = cli("history", name)
    version = len(history.lines) - 2
    assert "ed-" not in history.out, "who did it, not the number of a request"
    assert cli("ls", name, "odd", "--version", str(version)).lines == before
    assert cli("get", name, "./odd//file", "-", "--version", str(version)).out == "first"
    assert cli("get", name, "link", "-").out == "first", "a link keeps its name"
    cli("cp", name, "odd", "/copied/", code=1)
    cli("cp", name, "-r", "odd", "/copied/")
    assert cli("ls", name, "copied").lines == [line.replace("odd", "copied") for line in before]
    cli("get", name, "/odd/./", str(back))
    assert sorted(path.name for path in back.iterdir()) == ["empty", "file", "link"] and (back / "empty/inner").is_dir()
    cli("get", name, "odd/file", f"{tmp_path}/new/")
    assert (tmp_path / "new/file").read_text() == "second"
    (tmp_path / "into/file").mkdir(parents=True)
    assert "no file can replace" in cli("get", name, "odd/file", str(tmp_path / "into"), "--force", code=2).err
    assert not list((tmp_path / "into/file").iterdir())


def test_many_who_upload_the_same_bytes_at_once_all_have_them(stage):
    for size in (5_000, 300_000):  # in a pack, and alone
        data = os.urandom(size)

        def upload(_, data=data):
            with windlass.Volume.ephemeral() as own:
                with own.batch_upload() as batch:
                    batch.put_file(io.BytesIO(data), "/file")
                return b"".join(own.read_file("/file")) == data

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            assert all(pool.map(upload, range(12)))


def whole(place):
    import os

    return {name: open(f"{place}/{name}").read() for name in sorted(os.listdir(place))}


def places(*which):
    import os

    return {place: whole(place) if os.path.isdir(place) else None for place in which}


def test_volumes_of_an_app_are_those_of_all_its_functions_and_options_replace_a_functions(stage, volume):
    with windlass.Volume.ephemeral() as other, windlass.Volume.ephemeral() as third:
        put(volume, of="app")
        put(other, of="function")
        put(third, of="options")
        shared = windlass.App("test-volumes-of-apps", volumes={"/app": volume})
        look = shared.function(serialized=True, volumes={"/own": other})(places)
        over = shared.function(serialized=True, volumes={"/app": other}, name="over")(places)

        @shared.cls(serialized=True)
        class Looking:
            @windlass.method()
            def look(self, *which):
                return places(*which)

            @windlass.method()
            def leave(self, path):
                with open(path, "w") as file:
                    file.write("left")

        with shared.run():
            assert look.remote("/app", "/own") == {"/app": {"of": "app"}, "/own": {"of": "function"}}
            assert over.remote("/app", "/own") == {"/app": {"of": "function"}, "/own": None}
            assert look.with_options(volumes={"/own": third}).remote("/own") == {"/own": {"of": "options"}}
            assert Looking().look.remote("/app") == {"/app": {"of": "app"}}
            changed = Looking.with_options(volumes={"/new": third})
            assert changed().look.remote("/new") == {"/new": {"of": "options"}}
            changed().leave.remote("/new/left")
            until(lambda: "left" in [entry.path for entry in third.iterdir("/")], 30, "a commit in the background")


def stare(volume_id, turns):
    """Look at a file all the time while the volume is reloaded; what was seen, and how often it was reloaded."""
    import os
    import threading
    import time

    import windlass

    volume, seen, over, done = windlass.Volume.from_id(volume_id), set(), threading.Event(), 0

    def look():
        while not over.is_set():
            try:
                seen.add(os.stat("/data/file").st_size)
            except OSError as exc:
                seen.add(exc.strerror)

    looking = threading.Thread(target=look)
    looking.start()
    deadline = time.monotonic() + 60
    while done < turns and time.monotonic() < deadline:
        try:
            volume.reload()
            done += 1
        except RuntimeError:  # looked at in that very moment
            continue
    over.set()
    looking.join()
    return sorted(map(str, seen)), done


@pytest.mark.skipif(
    tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 5), reason="mounts below others: Linux 6.5"
)
def test_while_a_volume_is_reloaded_its_files_are_never_gone(stage, volume):
    put(volume, file="four")
    staring = app.function(serialized=True, volumes={PLACE: volume}, name="stare")(stare)
    with app.run():
        assert staring.remote(volume.object_id, 60) == (["4"], 60)
