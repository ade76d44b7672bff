"""Mounts meet images: links and open folders of the image survive."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import cache, stack

IMAGE = "im-" + "a" * 22


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    layer(tmp_path, "b" * 22)
    layer(tmp_path, "c" * 22)
    record = {"layers": ["im-" + "b" * 22, "im-" + "c" * 22]}
    (tmp_path / "layers" / IMAGE).mkdir()
    (tmp_path / "layers" / IMAGE / "meta.json").write_text(json.dumps(record))
    return tmp_path


def layer(home: Path, name: str) -> Path:
    files = home / "layers" / f"im-{name}" / "files"
    files.mkdir(parents=True)
    return files


def mount(home: Path, *names: str) -> Path:
    tree = home / "mounts" / "d"
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    return tree


def bottom(home: Path) -> Path:
    return home / "layers" / ("im-" + "b" * 22) / "files"


def top(home: Path) -> Path:
    return home / "layers" / ("im-" + "c" * 22) / "files"


def test_layers_come_bottom_first_and_mounts_above_them(home: Path) -> None:
    tree = mount(home, "root/main.py")
    assert stack.lowers(home, IMAGE, [tree]) == [bottom(home), top(home), tree]


def test_a_link_of_the_image_is_followed_instead_of_hidden(home: Path) -> None:
    (bottom(home) / "usr/lib").mkdir(parents=True)
    (bottom(home) / "lib").symlink_to("usr/lib")
    fitted = stack.lowers(home, IMAGE, [mount(home, "lib/x.so")])[-1]
    assert (fitted / "usr/lib/x.so").read_text() == "lib/x.so"
    assert not (fitted / "lib").exists()
    assert stack.lowers(home, IMAGE, [mount(home, "lib/x.so")])[-1] == fitted


def test_an_absolute_link_cannot_lead_out_of_the_image(home: Path) -> None:
    (bottom(home) / "data").symlink_to("/../../etc/real")
    fitted = stack.lowers(home, IMAGE, [mount(home, "data/x")])[-1]
    assert (fitted / "etc/real/x").exists()


def test_a_folder_open_to_everybody_stays_open(home: Path) -> None:
    (bottom(home) / "tmp").mkdir()
    (bottom(home) / "tmp").chmod(0o1777)
    fitted = stack.lowers(home, IMAGE, [mount(home, "tmp/a/x")])[-1]
    assert (fitted / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (fitted / "tmp/a").stat().st_mode & 0o7777 == 0o755


def test_what_an_upper_layer_removed_is_not_followed(home: Path) -> None:
    (bottom(home) / "lib").symlink_to("usr/lib")
    (top(home) / "lib").mkdir()
    tree = mount(home, "lib/x")
    assert stack.lowers(home, IMAGE, [tree])[-1] == tree


def test_links_in_a_circle_are_refused(home: Path) -> None:
    (bottom(home) / "a").symlink_to("b")
    (bottom(home) / "b").symlink_to("a")
    with pytest.raises(exception.InvalidError, match="lead nowhere"):
        stack.lowers(home, IMAGE, [mount(home, "a/x")])
    assert not list((home / "mounts").glob(".new-*"))


def test_an_unknown_image_is_not_found(home: Path) -> None:
    with pytest.raises(exception.NotFoundError):
        stack.lowers(home, "im-" + "z" * 22)


def test_a_text_is_read_where_the_image_has_it(tmp_path):
    below, above = tmp_path / "below", tmp_path / "above"
    (below / "usr/etc").mkdir(parents=True)
    (below / "usr/etc/passwd").write_text("below")
    (below / "usr/etc/group").symlink_to("/../../../../etc/group")
    (above / "usr/etc").mkdir(parents=True)
    (above / "etc").symlink_to("usr/etc")
    texts = stack.Texts([below, above])
    assert texts.text("etc/passwd") == "below"
    (above / "usr/etc/passwd").write_text("above")
    assert texts.text("/etc/passwd") == "above"
    assert texts.text("etc") == texts.text("etc/none") == ""
    assert texts.text("etc/group") == ""  # it leads to itself, not to the machine's own
