"""Files are copied into trees as their own root would, and never out of them."""
from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from windlass import exception
from windlass.worker.images import copying, rooted, transfer

ROOT = os.geteuid() == 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in ("a.txt", "b.txt", "dir/deep/c.txt", "dir/d.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept")
    return folder


def copy(source: Path, target: Path, *sources: str, path: str, owner: str = "", mode: int = -1) -> None:
    order: transfer.Order = {
        "namespace": "", "place": "", "lowers": [], "upper": "", "tree": "", "layers": [], "sources": list(sources),
        "path": path, "owner": owner, "mode": mode,
    }  # fmt: skip
    before = os.umask(0o022)
    try:
        with rooted.at(source) as one, rooted.at(target) as other:
            transfer.carry_out(order, one, other)
    finally:
        os.umask(before)


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def test_a_file_goes_to_a_name_or_into_a_folder(source: Path, target: Path) -> None:
    copy(source, target, "a.txt", path="/x/y")
    copy(source, target, "a.txt", path="/f/")
    (target / "there").mkdir()
    copy(source, target, "a.txt", path="/there")
    assert listed(target) == ["f/a.txt", "there/a.txt", "x/y"]
    assert (target / "x/y").read_text() == "a.txt"


def test_a_folder_stands_for_what_it_holds(source: Path, target: Path) -> None:
    copy(source, target, "dir", path="/app")
    copy(source, target, ".", path="/all/")
    assert listed(target) == [
        "all/a.txt", "all/b.txt", "all/dir/d.txt", "all/dir/deep/c.txt", "app/d.txt", "app/deep/c.txt",
    ]  # fmt: skip


def test_several_sources_and_wildcards_need_a_folder(source: Path, target: Path) -> None:
    copy(source, target, "/*.txt", "dir", path="/x/")
    assert listed(target) == ["x/a.txt", "x/b.txt", "x/d.txt", "x/deep/c.txt"]
    with pytest.raises(exception.InvalidError, match="slash"):
        copy(source, target, "*.txt", path="/y")
    for missing in ("gone", "*.gone", "gone/*"):
        with pytest.raises(exception.InvalidError, match="gone"):
            copy(source, target, missing, path="/y")


def test_what_is_there_is_replaced_and_folders_stay_as_they_are(source: Path, target: Path) -> None:
    (target / "dir").mkdir(mode=0o700)
    (target / "dir/d.txt").write_text("old")
    (target / "dir/d.txt").chmod(0o600)
    (target / "dir/other").write_text("stays")
    copy(source, target, ".", path="/")
    assert (target / "dir/d.txt").read_text() == "dir/d.txt" and (target / "dir/other").exists()
    assert stat.S_IMODE((target / "dir").stat().st_mode) == 0o700
    (target / "dir/a.txt").mkdir()
    with pytest.raises(exception.InvalidError, match="is a folder"):
        copy(source, target, "a.txt", path="/dir/")
    with pytest.raises(exception.InvalidError, match="no folder"):
        copy(source, target, "dir", path="/b.txt")


def test_links_of_the_image_are_followed_within_it(source: Path, target: Path) -> None:
    (target / "usr/lib").mkdir(parents=True)
    (target / "lib").symlink_to("usr/lib")
    (target / "abs").symlink_to("/usr")
    (target / "up").symlink_to("../../../../usr")
    copy(source, target, "a.txt", path="/lib/")
    copy(source, target, "b.txt", path="/abs/lib/")
    copy(source, target, "dir/d.txt", path="/up/lib/")
    assert listed(target / "usr") == ["lib/a.txt", "lib/b.txt", "lib/d.txt"]


def test_no_link_of_the_image_leads_out_of_it(source: Path, target: Path) -> None:
    outside = target.parent / "outside"
    (target / "abs").symlink_to(outside)
    (target / "rel").symlink_to("../outside")
    (target / "file").symlink_to(outside / "kept")
    (target / "proc").symlink_to("/proc/self/cwd")
    for path in ("/abs/", "/rel/", "/proc/", "/file/", "/abs/new"):
        with pytest.raises(OSError):
            copy(source, target, "a.txt", path=path)
    copy(source, target, "a.txt", path="/file")
    assert not (target / "file").is_symlink(), "a link in the place of a file is replaced, not followed"
    assert listed(outside) == ["kept"] and (outside / "kept").read_text() == "kept"


def test_no_link_of_the_source_leads_out_of_it(source: Path, target: Path) -> None:
    outside = target.parent / "outside"
    (source / "abs").symlink_to(outside)
    (source / "rel").symlink_to("../outside/kept")
    (source / "dir/kept").symlink_to(outside / "kept")
    for path in ("abs", "rel", "abs/kept", "../outside/kept", "dir/kept"):
        with pytest.raises((exception.InvalidError, OSError)):
            copy(source, target, path, path="/x")
    copy(source, target, "dir", path="/app")
    assert (target / "app/kept").readlink() == outside / "kept", "a link within a folder stays a link"


def test_a_source_that_is_a_link_is_followed(source: Path, target: Path) -> None:
    (source / "to-a").symlink_to("/a.txt")
    (source / "to-dir").symlink_to("dir")
    copy(source, target, "to-a", path="/x/")
    copy(source, target, "to-dir", path="/y")
    assert listed(target) == ["x/to-a", "y/d.txt", "y/deep/c.txt"]


def test_times_modes_attributes_and_several_names_are_kept(source: Path, target: Path) -> None:
    tool = source / "dir/tool"
    tool.write_text("x")
    tool.chmod(0o4755)
    os.utime(tool, (1000, 2000))
    os.setxattr(tool, "user.note", b"kept")
    (source / "dir/again").hardlink_to(tool)
    (source / "dir/sticky").mkdir()
    (source / "dir/sticky").chmod(0o1777)
    os.mkfifo(source / "dir/pipe")
    copy(source, target, "dir", path="/")
    made = (target / "tool").stat()
    assert stat.S_IMODE(made.st_mode) == 0o4755 and made.st_mtime == 2000 and made.st_nlink == 2
    assert os.getxattr(target / "tool", "user.note") == b"kept"
    assert (target / "again").stat().st_ino == made.st_ino
    assert stat.S_IMODE((target / "sticky").stat().st_mode) == 0o1777
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)


@pytest.mark.skipif(not ROOT, reason="gives files away")
def test_owner_and_mode_are_as_wanted(source: Path, target: Path) -> None:
    (target / "etc").mkdir()
    (target / "etc/passwd").write_text("root:x:0:0::/root:\napp:x:1000:1001::/home/app:/bin/sh\n")
    (target / "etc/group").write_text("web:x:50:\n")
    (source / "dir/link").symlink_to("d.txt")
    copy(source, target, "dir", path="/new/place", owner="app:web", mode=0o750)
    for name in ("new/place", "new/place/d.txt", "new/place/deep", "new/place/link"):
        state = (target / name).lstat()
        assert (state.st_uid, state.st_gid) == (1000, 50), name
    assert stat.S_IMODE((target / "new/place/deep").stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "new/place").stat().st_mode) == 0o755
    copy(source, target, "a.txt", path="/b", owner="app")
    copy(source, target, "a.txt", path="/c", owner="7")
    assert [(target / name).stat().st_gid for name in "bc"] == [1001, 7]
    for unknown in ("nobody-here", "app:nobody-here", "99999", "-1", "app:4294967295"):
        with pytest.raises(exception.InvalidError):
            copy(source, target, "a.txt", path="/d", owner=unknown)


@pytest.mark.skipif(not ROOT, reason="makes devices")
def test_devices_are_refused(source: Path, target: Path) -> None:
    os.mknod(source / "dir/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(exception.InvalidError, match="device"):
        copy(source, target, "dir", path="/x")


def test_no_source_makes_a_folder(source: Path, target: Path) -> None:
    copy(source, target, path="/a/b/")
    assert (target / "a/b").is_dir()
    (target / "f").touch()
    with pytest.raises((exception.InvalidError, OSError)):
        copy(source, target, path="/f/x/")


def test_deep_folders_are_copied(source: Path, target: Path) -> None:
    deep = source / "/".join(["d"] * 500)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("x")
    copy(source, target, ".", path="/")
    assert (target / deep.relative_to(source) / "leaf").exists()


NAMES = st = strategies.sampled_from(["a", "b", "..", ".", "link", "/", "//", "outside", "kept"])


@settings(max_examples=150, deadline=None)
@given(
    links=strategies.lists(strategies.tuples(st, strategies.lists(st, min_size=1, max_size=5)), max_size=4),
    sources=strategies.lists(strategies.lists(st, max_size=4), min_size=1, max_size=2),
    path=strategies.lists(st, max_size=5),
)
def test_whatever_the_links_and_paths_nothing_outside_is_touched(
    tmp_path_factory: Any, links: list[tuple[str, list[str]]], sources: list[list[str]], path: list[str]
) -> None:
    place = tmp_path_factory.mktemp("any")
    outside = place / "outside"
    for folder in ("source/a", "target/a", "outside"):
        (place / folder).mkdir(parents=True)
    (place / "source/a/b").write_text("inside")
    (outside / "kept").write_text("secret")
    for tree in ("source", "target"):
        for name, goal in links:
            where = place / tree / name.strip("./")
            if not os.path.lexists(where):
                where.symlink_to("/".join(goal) if len(goal) % 2 else f"{place}/{'/'.join(goal)}")
    try:
        copy(place / "source", place / "target", *("/".join(parts) for parts in sources),
             path=copying.absolute("/".join(path), "/"))  # fmt: skip
    except (exception.InvalidError, OSError):
        pass
    assert listed(outside) == ["kept"] and (outside / "kept").read_text() == "secret"
    assert sorted(entry.name for entry in place.iterdir()) == ["outside", "source", "target"]
    for name in listed(place / "target"):
        file = place / "target" / name
        assert file.is_symlink() or file.read_text() == "inside"
