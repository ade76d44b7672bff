"""Images: each step does what it says, failing steps say why, and nothing of the host gets in."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

import windlass
from stage import until

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str, function=sh, **options):
    app = windlass.App("test-images", image=image)
    handle = app.function(serialized=True, **options)(function)
    with app.run():
        return handle.remote(*commands)


def test_the_base_has_the_callers_python_and_no_trace_of_the_host(stage):
    import sys

    version, system, home, cwd = inside(
        SLIM(), "python -c 'import sys; print(*sys.version_info[:2])'", "head -1 /etc/os-release", "ls -A /root", "pwd"
    )
    assert version == f"{sys.version_info[0]} {sys.version_info[1]}"
    assert "Debian" in system and cwd == "/root"
    assert str(stage.home) not in home


def test_the_version_of_python_is_a_string_of_a_known_series():
    with pytest.raises(TypeError):
        SLIM(python_version=3.12)
    with pytest.raises(windlass.exception.InvalidError):
        SLIM(python_version="2.7")


def test_packages_of_debian_and_of_the_index_are_installed(stage):
    image = SLIM().apt_install("tree").pip_install("iniconfig==2.0.0").uv_pip_install("idna==3.7")
    tree, old, new = inside(
        image,
        "tree --version",
        "python -c 'import importlib.metadata as m; print(m.version(\"iniconfig\"))'",
        "python -c 'import idna; print(idna.__version__)'",
    )
    assert tree.startswith("tree v") and old == "2.0.0" and new == "3.7"


def test_commands_environment_and_working_folder(stage):
    image = (
        SLIM()
        .env({"COLOUR": "green", "SPACED": "a b"})
        .run_commands("mkdir -p /srv/place", 'echo "$COLOUR" > /srv/place/colour', "cd /tmp && pwd > /srv/place/here")
        .workdir("/srv/place")
    )
    assert inside(image, "cat colour", "pwd", 'echo "$SPACED"', "cat here") == ["green", "/srv/place", "a b", "/tmp"]


def test_the_working_folder_holds_for_later_steps(stage):
    assert inside(SLIM().workdir("/srv").run_commands("pwd > /where"), "cat /where") == ["/srv"]


@pytest.mark.parametrize("copy", [True, False], ids=["copied", "mounted"])
def test_local_files_folders_and_modules_are_added(stage, tmp_path, monkeypatch, copy):
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/one.txt").write_text("one")
    (tmp_path / "data/deep/two.txt").write_text("two")
    (tmp_path / "data/skip.log").write_text("no")
    (tmp_path / "data/tool.sh").write_text("#!/bin/sh\necho it runs\n")
    (tmp_path / "data/tool.sh").chmod(0o755)
    package = f"pkg_{uuid.uuid4().hex[:8]}"
    (tmp_path / package / "sub").mkdir(parents=True)
    (tmp_path / package / "__init__.py").write_text("value = 41\n")
    (tmp_path / package / "sub/__init__.py").write_text("value = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    image = (
        SLIM()
        .add_local_file(tmp_path / "data/one.txt", "/srv/single.txt", copy=copy)
        .add_local_file(tmp_path / "data/one.txt", "/srv/folder/", copy=copy)
        .add_local_dir(tmp_path / "data", "/srv/data", copy=copy, ignore=["*.log"])
        .add_local_python_source(package, copy=copy)
    )
    got = inside(
        image,
        "cat /srv/single.txt",
        "cat /srv/folder/one.txt",
        "cat /srv/data/deep/two.txt",
        "ls /srv/data",
        "/srv/data/tool.sh",
        f"python -c 'import {package}.sub as s; print(s.value, s.__file__)'",
    )
    assert got == ["one", "one", "two", "deep\none.txt\ntool.sh", "it runs", f"42 /root/{package}/sub/__init__.py"]


def test_a_changed_local_file_is_seen_at_the_next_run(stage, tmp_path):
    file = tmp_path / "changing.txt"
    for copy in (True, False):
        for text in ("before", "after"):
            file.write_text(text)
            assert inside(SLIM().add_local_file(file, "/srv/f", copy=copy), "cat /srv/f") == [text]


def test_what_is_missing_or_wrong_is_refused_here(tmp_path):
    with pytest.raises(FileNotFoundError):
        image = SLIM().add_local_file(tmp_path / "nothing", "/x")
        inside(image)
    file = tmp_path / "f"
    file.write_text("")
    with pytest.raises(windlass.exception.InvalidError):
        SLIM().add_local_file(file, "relative/path")
    with pytest.raises(windlass.exception.InvalidError):
        SLIM().pip_install("--pre")
    with pytest.raises(windlass.exception.InvalidError):
        SLIM().env({"A": 1})
    assert SLIM().pip_install() is not None


def test_a_step_after_a_mounted_file_is_refused_with_the_way_out(stage, tmp_path):
    file = tmp_path / "f"
    file.write_text("")
    with pytest.raises(windlass.exception.InvalidError, match="follows local files") as caught:
        inside(SLIM().add_local_file(file, "/x").run_commands("true"))
    assert "copy=True" in caught.value.hint


def test_a_failing_step_shows_its_command_and_log_and_caches_nothing(stage, program):
    mark = uuid.uuid4().hex
    layers = set(os.listdir(stage.home / "layers"))
    path = program(
        "failing.py",
        f"""
import modal
image = modal.Image.debian_slim().run_commands("echo saying-{mark}; echo also-$((40+2)) >&2; exit 3")
app = modal.App("test-failing-step", image=image)

@app.function()
def f(): ...

@app.local_entrypoint()
def main(): f.remote()
""",
    )
    for _ in range(2):  # nothing was cached: it is tried again and fails again
        ran = stage.cli("run", path, check=1)
        assert f"saying-{mark}" in ran.text and "also-42" in ran.text
        assert "exit 3" in ran.err
    assert set(os.listdir(stage.home / "layers")) == layers
    assert not list(Path(stage.home / "layers").glob(".*"))
    until(lambda: not stage.containers(), what="no containers")


def test_the_error_of_a_failing_step_has_a_type_and_an_image(stage):
    with pytest.raises(windlass.exception.ImageBuildError) as caught:
        inside(SLIM().run_commands(f"false # {uuid.uuid4().hex}"))
    assert isinstance(caught.value, windlass.exception.RemoteError)


def test_a_package_that_does_not_exist_fails_the_build(stage):
    with pytest.raises(windlass.exception.ImageBuildError, match="windlass-no-such-package"):
        inside(SLIM().apt_install("windlass-no-such-package"))


def test_a_step_is_built_once_and_found_again(stage):
    mark = uuid.uuid4().hex
    image = SLIM().run_commands(f"date +%s%N > /when # {mark}")
    first = inside(image, "cat /when")
    assert inside(image, "cat /when") == first
    assert inside(SLIM().run_commands(f"date +%s%N > /when # {mark}"), "cat /when") == first
    forced = inside(SLIM().run_commands(f"date +%s%N > /when # {mark}", force_build=True), "cat /when")
    assert forced != first
    assert inside(image, "cat /when") == forced, "a forced build replaces the old one"


def test_deletions_and_replacements_in_later_layers_hold(stage):
    mark = uuid.uuid4().hex
    image = (
        SLIM()
        .run_commands(f"mkdir /d && echo 1 > /d/a && echo 1 > /d/b # {mark}")
        .run_commands("rm /d/a && echo 2 > /d/b")
        .run_commands("rm -r /d && mkdir /d && echo 3 > /d/c")
    )
    assert inside(image, "ls /d", "cat /d/c") == ["c", "3"]


def test_a_build_runs_isolated_and_leaves_the_host_alone(stage, tmp_path):
    target = tmp_path / "stolen"
    image = SLIM().run_commands(
        f"ls {stage.home} > /seen 2>&1 || true # {uuid.uuid4().hex}",
        f"echo x > {target} || true; readlink /proc/self/ns/user > /ns",
    )
    seen, namespace = inside(image, "cat /seen", "cat /ns")
    assert "No such file" in seen
    assert namespace != os.readlink("/proc/self/ns/user") and not target.exists()


def test_two_programs_that_build_the_same_step_join_one_build(stage, program):
    mark = uuid.uuid4().hex
    source = f"""
import modal
app = modal.App("test-joined", image=modal.Image.debian_slim().run_commands("sleep 2; date +%s%N > /when # {mark}"))

@app.function()
def f(): return open("/when").read()

@app.local_entrypoint()
def main(): print("WHEN", f.remote())
"""
    paths = [program(f"joined{i}.py", source) for i in range(2)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda p: stage.cli("run", p, check=0).out, paths)
    assert [line for line in first.splitlines() if "WHEN" in line] == [
        line for line in second.splitlines() if "WHEN" in line
    ]


def test_imports_that_only_the_image_has_are_allowed_to_fail_here(stage, program):
    source = """
import modal
image = modal.Image.debian_slim().pip_install("iniconfig==2.0.0")
app = modal.App("test-imports")

with image.imports():
    import iniconfig._parse as parse
    import {extra}

@app.function(image=image)
def has(): return parse.__name__

@app.function()
def has_not(): return "parse" in globals()

@app.local_entrypoint()
def main():
    print("GOT", has_not.remote())
    print("GOT", has.remote())
"""
    ran = stage.cli("run", program("good.py", source.format(extra="zlib")), check=0)
    assert "GOT iniconfig._parse" in ran.out
    ran = stage.cli("run", program("bad.py", source.format(extra="no_such_module_anywhere")), check=1)
    assert "GOT False" in ran.out and "no_such_module_anywhere" in ran.err
