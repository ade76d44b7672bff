"""What `windlass serve` watches, and what git says."""
from __future__ import annotations

import importlib.util
import subprocess
import sys

import windlass
from windlass.client import commit, watch


def test_files_of_functions_images_and_own_modules_are_watched(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "needs.txt").write_text("numpy\n")
    (tmp_path / "one.cfg").write_text("")
    (tmp_path / "watched_beside.py").write_text("")
    (tmp_path / "watched_main.py").write_text("def f(): ...\n")
    for name in ("watched_beside", "watched_main"):
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    image = (
        windlass.Image.debian_slim()
        .pip_install_from_requirements(str(tmp_path / "needs.txt"))
        .add_local_dir(str(tmp_path / "data"), "/data")
        .add_local_file(str(tmp_path / "one.cfg"), "/one.cfg")
        .add_local_file(str(tmp_path / "missing"), "/missing")
    )
    app = windlass.App("a", image=image)
    app.function()(sys.modules["watched_main"].f)
    found = watch.of(app, tmp_path)
    assert found.trees == [str(tmp_path / "data")]
    named = ("missing", "needs.txt", "one.cfg", "watched_beside.py", "watched_main.py")
    assert found.files == [str(tmp_path / name) for name in named]


def test_git_is_asked_and_may_have_nothing_to_say(tmp_path, monkeypatch):
    assert commit.look(str(tmp_path)) is None
    (tmp_path / "a").write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    said = commit.look(str(tmp_path))
    assert (said["branch"], said["dirty"], said["author"]) == ("trunk", False, "Ann <ann@example.org>")
    assert len(said["hash"]) == 40
    (tmp_path / "a").write_text("2")
    assert commit.look(str(tmp_path))["dirty"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit.look(str(tmp_path)) is None
