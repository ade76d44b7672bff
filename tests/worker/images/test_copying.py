"""Where a copy goes, and what the copying program says when it fails."""
from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import cache, copying, settings


@pytest.mark.parametrize(
    ("path", "workdir", "expected"),
    [
        ("/a/b", "/w", "/a/b"), ("/a/", "/w", "/a/"), ("a", "/w", "/w/a"), ("a/", "", "/a/"), (".", "/w", "/w/"),
        ("", "/w", "/w/"), ("./", "/w", "/w/"), ("..", "/w/x", "/w/"), ("../y", "/w/x", "/w/y"), ("/", "/w", "/"),
        ("../../..", "/w", "/"), ("/a/../../b", "", "/b"), ("//a", "", "/a"),
        ("a", "w", "/w/a"), ("x/.", "/w", "/w/x/"),
    ],
)  # fmt: skip
def test_a_path_is_seen_from_the_working_folder(path: str, workdir: str, expected: str) -> None:
    assert copying.absolute(path, workdir) == expected


def test_a_path_with_a_null_is_refused() -> None:
    with pytest.raises(exception.InvalidError):
        copying.absolute("a\0b", "/")


class Trees:
    def __init__(self, tree: Path) -> None:
        self._tree = tree

    async def tree(self, digest: str) -> Path:
        return self._tree


def bring(tmp_path: Path, *, timeout: float = 30, **recipe: object) -> Path:
    """A real program and real mounts, but no user namespace."""

    async def run() -> None:
        async with cache.Layers(tmp_path).draft() as draft:
            draft.tree()
            target = copying.Target(tmp_path, lowers=[tmp_path / "base"], workdir="/w", draft=draft)
            nothing = settings.Settings({}, [], [], None)
            await copying.run(
                {"op": "copy", "mount": "x", **recipe}, target, trees=Trees(tmp_path / "tree"), namespace=Path(""),  # type: ignore[typeddict-item]
                host=nothing, timeout=timeout,
            )  # fmt: skip
            (draft.folder / "aside").rename(tmp_path / "aside")
            draft.files.rename(tmp_path / "made")

    asyncio.run(run())
    return tmp_path / "made"


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "base/w").mkdir(parents=True)
    (tmp_path / "base/w/old").write_text("old")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/new").write_text("new")
    return tmp_path


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")


@needs_mounts
def test_only_what_changes_is_in_the_layer(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", 0)
    made = bring(parts, path="sub/")
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*")) == ["w", "w/sub", "w/sub/new"]
    assert str(parts) not in Path("/proc/self/mounts").read_text(), "its mounts ended with it"


@needs_mounts
def test_the_reason_of_a_failure_is_told(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", 0)
    with pytest.raises(exception.ImageBuildError, match="the image has no user 'nobody-here'"):
        bring(parts, path="/x", owner="nobody-here")
    with pytest.raises(exception.ImageBuildError, match="gone does not exist"):
        bring(parts, path="/x", sources=["gone"])


@needs_mounts
def test_a_copy_has_a_deadline(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", 0)
    with pytest.raises(exception.ImageBuildError, match=r"did not end within 0\.001 s"):
        bring(parts, path="/x", timeout=0.001)
    assert list((parts / "layers").iterdir()) == []
