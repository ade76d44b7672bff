"""Network file systems: what one writes all see at once, and nothing that a container does leads out of the folder."""

from __future__ import annotations

import asyncio
import io
import uuid
from pathlib import Path

import pytest

import windlass
from stage import until
from windlass import exception
from windlass.volume import FileEntryType

pytestmark = pytest.mark.filterwarnings("ignore:NetworkFileSystem is deprecated")

PLACE = "/shared"


@pytest.fixture
def shared(stage):
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield windlass.NetworkFileSystem.from_name(name, create_if_missing=True).hydrate()
    stage.cli("nfs", "delete", name, "--yes", "--allow-missing", check=0)


def read(shared, path):
    return b"".join(shared.read_file(path)).decode()


def paths(shared, path="/"):
    return sorted(entry.path for entry in shared.listdir(path))


def answer(name, other):
    """Write a file, and answer what somebody else writes."""
    import pathlib
    import time

    folder = pathlib.Path("/shared")
    (folder / name).write_text(name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if text := (folder / other).read_text():  # a file is there before anything is in it
                return text
        except FileNotFoundError:
            pass
        time.sleep(0.01)
    return "nothing came"


def vanish():
    """Write a file, and say how it ends."""
    import pathlib
    import time

    mine = pathlib.Path("/shared/mine")
    mine.write_text("x")
    deadline = time.monotonic() + 40
    while mine.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        mine.open("r+").close()  # makes none where the folder goes a moment later than what is in it
    except OSError as exc:
        return type(exc).__name__
    return "written"


def plant():
    """Whatever could lead somebody out of the folder who looks into it from outside."""
    import os
    import pathlib

    os.chdir("/shared")
    os.symlink("/etc", "absolute")
    os.symlink("../../../../../../etc", "upwards")
    os.symlink("/proc/self/root/etc", "magic")
    os.symlink("/etc/passwd", "file")
    os.mkfifo("pipe")
    os.mkdir("victim")
    pathlib.Path("victim/kept").write_text("kept")
    os.mkdir("tree")
    os.symlink("../victim", "tree/link")
    deep = "tree"
    for _ in range(300):
        deep += "/d"
        os.mkdir(deep)
    os.chmod("tree", 0)
    return os.stat("/shared").st_uid, open("/proc/self/mountinfo").read().count(" /shared ")


def function(app, work, shared, path=PLACE, **options):
    named = f"work-{uuid.uuid4().hex[:8]}"
    return app.function(serialized=True, name=named, network_file_systems={path: shared}, **options)(work)


def test_running_containers_see_what_others_write_at_once_and_so_does_who_looks_from_outside(stage, shared):
    app = windlass.App("test-nfs")
    one, two = function(app, answer, shared), function(app, answer, shared, enable_memory_snapshot=True)
    with app.run():
        calls = [one.spawn("a", "b"), two.spawn("b", "c")]
        assert calls[0].get() == "b"
        assert paths(shared) == ["a", "b"] and read(shared, "a") == "a"
        shared.write_file("c", io.BytesIO(b"from outside"))
        assert calls[1].get() == "from outside"
        log = stage.cli("app", "logs", app.app_id).text
    assert "started without a memory snapshot: it mounts network file systems" in log


def test_a_deletion_takes_the_files_from_those_who_have_them_mounted_too(stage, shared):
    app = windlass.App("test-nfs")
    vanishing = function(app, vanish, shared)
    with app.run():
        call = vanishing.spawn()
        until(lambda: paths(shared) == ["mine"], what="the container's file")
        windlass.NetworkFileSystem.delete(shared.name)
        assert call.get() == "FileNotFoundError"
    with pytest.raises(exception.NotFoundError, match="network file system"):
        shared.listdir("/")


def test_links_of_a_container_lead_nobody_out_of_the_folder(stage, shared, tmp_path):
    app = windlass.App("test-nfs")
    planting = function(app, plant, shared)
    with app.run():
        assert planting.remote() == (0, 1)
    for path in ("absolute", "upwards", "magic", "absolute/passwd", "file"):
        with pytest.raises((FileNotFoundError, exception.InvalidError)):
            read(shared, path)
    with pytest.raises(exception.InvalidError, match="plain file"):
        read(shared, "pipe")
    kinds = {entry.path: entry.type for entry in shared.listdir("/")}
    assert (kinds["absolute"], kinds["pipe"]) == (FileEntryType.SYMLINK, FileEntryType.FIFO)
    host = Path("/etc/passwd").read_bytes()
    with pytest.raises((FileExistsError, FileNotFoundError, exception.InvalidError)):
        shared.write_file("absolute/new", io.BytesIO(b"x"))
    shared.write_file("file", io.BytesIO(b"a file now"))  # takes the place of the link
    assert read(shared, "file") == "a file now" and Path("/etc/passwd").read_bytes() == host
    shared.remove_file("tree/link")
    shared.remove_file("tree", recursive=True)
    assert read(shared, "victim/kept") == "kept" and "tree" not in paths(shared)
    shared.remove_file("/", recursive=True)
    assert paths(shared) == []


def test_files_are_put_listed_read_and_removed_from_outside(stage, shared, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/large").write_bytes(b"x" * 1_000_000)
    (tmp_path / "tree/small.txt").write_text("small")
    told = []
    assert shared.write_file("/d/e/f", io.BytesIO(b"one"), progress_cb=lambda **more: told.append(more)) == 3
    assert told == [{"reset": True, "total": 3}, {"advance": 3}]
    assert shared.write_file("/d/e/f", io.BytesIO(b"other")) == 5 and read(shared, "d/e/f") == "other"
    shared.add_local_dir(tmp_path / "tree")
    assert shared.add_local_file(tmp_path / "tree/sub/large", "/copies/") == 1_000_000
    assert shared.add_local_file(tmp_path / "tree/small.txt") == 5
    assert paths(shared) == ["copies", "d", "small.txt", "tree"]
    assert paths(shared, "tree/*.txt") == ["tree/small.txt"]
    assert paths(shared, "/**/large") == ["copies/large", "tree/sub/large"]
    assert [entry.path for entry in shared.iterdir("d/e/f")] == ["d/e/f"] and paths(shared, "none*") == []
    assert len(read(shared, "copies/large")) == 1_000_000
    with pytest.raises(FileNotFoundError):
        shared.remove_file("missing")
    with pytest.raises(FileNotFoundError):
        shared.listdir("missing")
    with pytest.raises(exception.InvalidError, match="folder"):
        shared.remove_file("tree")
    with pytest.raises(FileExistsError, match="folder"):
        shared.write_file("tree", io.BytesIO(b""))
    with pytest.raises(exception.InvalidError, match="leads out"):
        shared.write_file("../x", io.BytesIO(b""))
    shared.remove_file("tree", recursive=True)
    assert paths(shared, "**/large") == ["copies/large"]


def test_of_every_method_there_is_an_asynchronous_twin(stage):
    async def play():
        async with windlass.NetworkFileSystem.ephemeral.aio() as shared:
            assert await shared.write_file.aio("f", io.BytesIO(b"x")) == 1
            assert b"".join([piece async for piece in shared.read_file.aio("f")]) == b"x"
            assert [entry.path async for entry in shared.iterdir.aio("/")] == ["f"]
            identity = shared.object_id
            assert (stage.home / "nfs" / identity / "files/f").read_text() == "x"
        with pytest.raises(exception.NotFoundError):
            await windlass.NetworkFileSystem.from_id(identity).listdir.aio("/")
        return identity

    folder = stage.home / "nfs" / asyncio.run(play())
    until(lambda: not folder.exists(), what="removal of its files")


def test_the_command_line_does_all_of_it_and_files_survive_a_restart(stage, tmp_path):
    name = f"test-{uuid.uuid4().hex[:12]}"
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("content")

    def cli(*words, code=0):
        return stage.cli("nfs", *words, check=code)

    assert "nfs" not in stage.cli("--help", check=0).out.split()
    cli("create", name)
    assert "already" in cli("create", name, code=1).err
    [row] = [one for one in stage.json("nfs", "list") if one["name"] == name]
    cli("put", name, str(tmp_path / "tree"), "/tree")
    cli("put", name, str(tmp_path / "tree/sub/file"))
    stage.cli("server", "restart", check=0)
    assert cli("ls", name, "*").lines == ["file", "tree"]
    assert cli("get", name, "file", "-").out == "content"
    cli("get", name, "tree/**/f*", str(tmp_path / "back"))
    assert (tmp_path / "back/sub/file").read_text() == "content"
    cli("get", name, "/", str(tmp_path / "all"))
    assert (tmp_path / "all/tree/sub/file").read_text() == (tmp_path / "all/file").read_text() == "content"
    cli("rm", name, "tree", "-r")
    assert cli("ls", name).lines == ["file"]
    cli("delete", name, "--yes")
    cli("delete", name, "--yes", code=1)
    assert row["name"] not in [one["name"] for one in stage.json("nfs", "list")]
