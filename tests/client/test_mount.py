"""Local files on their way into containers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass import exception
from windlass.client import mount
from windlass.file_pattern_matcher import NON_PYTHON_FILES, FilePatternMatcher


class Server:
    """Keeps blobs as the real one does: checks digests when an upload ends."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.pending: dict[str, bytearray] = {}
        self.puts = 0

    async def request(self, method: str, body: Any, attachments: Any = ()) -> Any:
        if method == "blob.missing":
            return SimpleNamespace(body={"missing": [d for d in body["digests"] if d not in self.blobs]})
        self.puts += 1
        data = self.pending.setdefault(body["upload_id"], bytearray())
        assert body["offset"] == len(data)
        data += attachments[0]
        if body["last"]:
            if "sha256:" + hashlib.sha256(data).hexdigest() != body["digest"]:
                raise exception.DataLossError("the bytes do not fit the digest")
            self.blobs[body["digest"]] = bytes(data)
        return SimpleNamespace(body={})


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def nothing(path: Path) -> bool:
    return False


def inside(source: mount.Source) -> list[str]:
    return sorted(remote for _, remote in source.files())


def test_a_folder_goes_with_everything_below_but_what_is_ignored(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "b/c.txt", "b/d.pyc", ".env", "skip/x/y")
    assert inside(mount.Tree(tmp_path, "data", ignore=nothing)) == [
        "data/.env", "data/a.py", "data/b/c.txt", "data/b/d.pyc", "data/skip/x/y",
    ]  # fmt: skip
    ignore = FilePatternMatcher("**/*.pyc", "skip", ".env")
    assert inside(mount.Tree(tmp_path, "data", ignore=ignore)) == ["data/a.py", "data/b/c.txt"]


def test_the_ignore_callable_sees_relative_paths_and_whole_folders_are_skipped_early(tmp_path: Path) -> None:
    tree(tmp_path, "a/b", "big/1", "big/2")
    seen: list[str] = []
    matcher = FilePatternMatcher("big")

    class Watching:
        def can_prune_directories(self) -> bool:
            return True

        def __call__(self, path: Path) -> bool:
            seen.append(path.as_posix())
            return matcher(path)

    assert inside(mount.Tree(tmp_path, "", ignore=Watching())) == ["a/b"]
    assert seen == ["a", "a/b", "big"]


def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    tree(tmp_path, "a/x")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert inside(mount.Tree(tmp_path, "", ignore=nothing)) == ["a/x"]


def test_what_is_not_there_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inside(mount.File(tmp_path / "gone", "x"))
    with pytest.raises(FileNotFoundError):
        inside(mount.Tree(tmp_path / "gone", "x", ignore=nothing))
    with pytest.raises(exception.InvalidError, match="add_local_dir"):
        inside(mount.File(tmp_path, "x"))


def test_packages_and_modules_go_below_root_without_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    tree(tmp_path, "wl_pkg/__init__.py", "wl_pkg/sub/m.py", "wl_pkg/data.txt", "wl_pkg/__pycache__/m.pyc", "wl_mod.py")
    tree(tmp_path, "wl_pkg/.hidden/x.py")
    (tmp_path / "wl_pkg/__init__.py").write_text("")
    assert inside(mount.Module("wl_pkg", ignore=NON_PYTHON_FILES)) == [
        "root/wl_pkg/__init__.py",
        "root/wl_pkg/sub/m.py",
    ]
    assert inside(mount.Module("wl_pkg.sub", ignore=NON_PYTHON_FILES)) == ["root/wl_pkg/sub/m.py"]
    assert inside(mount.Module("wl_mod", ignore=NON_PYTHON_FILES)) == ["root/wl_mod.py"]
    sys.modules.pop("wl_pkg", None)


@pytest.mark.parametrize("name", ["wl_no_such_module", "sys"])
def test_a_module_without_files_is_not_mountable(name: str) -> None:
    with pytest.raises(exception.ModuleNotMountable, match=name):
        inside(mount.Module(name, ignore=nothing))


def test_only_what_the_server_lacks_is_sent_and_the_same_files_give_the_same_mount(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b")
    (tmp_path / "same-as-a").write_text("a")
    (tmp_path / "empty").touch()
    (tmp_path / "big").write_bytes(b"x" * (2 * 1024 * 1024 + 5))
    (tmp_path / "a").chmod(0o755)
    server = Server()
    first = asyncio.run(mount.Mount(mount.Tree(tmp_path, "d", ignore=nothing)).upload(server))
    listed = json.loads(server.blobs[first])["files"]
    assert [file["path"] for file in listed] == ["d/a", "d/b", "d/big", "d/empty", "d/same-as-a"]
    assert listed[0]["mode"] == 0o755 and listed[1]["mode"] == 0o644
    assert all(len(server.blobs[file["digest"]]) == file["size"] for file in listed)
    puts = server.puts
    assert asyncio.run(mount.Mount(mount.Tree(tmp_path, "d", ignore=nothing)).upload(server)) == first
    assert server.puts == puts


def test_of_two_files_at_one_place_the_later_wins(tmp_path: Path) -> None:
    tree(tmp_path, "one", "two")
    both = mount.Mount(mount.File(tmp_path / "one", "x"), mount.File(tmp_path / "two", "x"))
    assert both.files() == {"x": tmp_path / "two"}


def test_a_file_that_changes_during_the_upload_is_noticed(tmp_path: Path) -> None:
    file = tree(tmp_path, "log") / "log"

    class Meanwhile(Server):
        async def request(self, method: str, body: Any, attachments: Any = ()) -> Any:
            if method == "blob.missing":
                file.write_text("changed")
            return await super().request(method, body, attachments)

    with pytest.raises(exception.ExecutionError, match="changed while"):
        asyncio.run(mount.Mount(mount.File(file, "x")).upload(Meanwhile()))
