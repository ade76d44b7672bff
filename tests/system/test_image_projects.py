"""Dependencies of projects: what their files ask for is installed, the project and its tools are not."""

from __future__ import annotations

import os
import subprocess
import uuid

import pytest

import windlass
from windlass.worker.images import settings

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-image-projects", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


def fresh(text: str) -> str:
    """The same for every reader, and in no cache."""
    return f"{text}# {uuid.uuid4().hex}\n"


def found(*names: str) -> str:
    """A command that says which of these modules can be imported."""
    return f"python3 -c 'import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])'".replace(
        repr(names), repr(list(names)).replace("'", '"')
    )


PYPROJECT = """
[project]
name = "demo"
version = "0.1"
readme = "README.md"
requires-python = ">=3.10"
dependencies = ["iniconfig==2.0.0"]

[project.optional-dependencies]
more = ["idna==3.7"]

[dependency-groups]
dev = ["sniffio==1.3.1"]
extra = ["attrs==23.2.0"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def test_the_dependencies_of_a_pyproject_are_installed_with_the_groups_asked_for(stage, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(PYPROJECT)
    plain = SLIM().pip_install_from_pyproject(path)
    [got] = inside(plain.pip_install_from_pyproject(path, ["more"]), found("iniconfig", "idna", "attr", "demo"))
    assert got == "iniconfig idna"
    path.write_text(PYPROJECT.replace("0.1", "0.2") + "\n[tool.other]\n")
    again = SLIM().pip_install_from_pyproject(path).build()
    assert again.object_id == plain.build().object_id, "only the dependencies count"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(fresh(PYPROJECT))
    lock = [str(settings.uv_binary()), "lock", "-q", "--project", str(tmp_path)]
    subprocess.run(lock, check=True, timeout=60)
    return tmp_path


def test_uv_sync_makes_an_environment_that_functions_and_later_steps_use(stage, project):
    image = SLIM().uv_sync(project, groups=["extra"], extras=["more"]).pip_install("pluggy==1.6.0")
    image = image.run_commands("python3 -c 'import sys; print(sys.prefix)' > /prefix")
    got, python, prefix, places, uv = inside(
        image, found("iniconfig", "idna", "attr", "sniffio", "demo"), "command -v python3", "cat /prefix",
        "python3 -c 'import pluggy, idna; print(pluggy.__file__, idna.__file__)'", "ls -A /tmp /root | grep uv",
    )  # fmt: skip
    assert got == "iniconfig idna attr sniffio"
    assert python == "/.uv/.venv/bin/python3" and prefix == "/.uv/.venv"
    assert all(place.startswith("/.uv/.venv/lib/") for place in places.split())
    assert uv == "", "neither uv nor its leftovers are in the image"


def test_uv_sync_takes_another_uv_and_a_project_without_a_lock(stage, tmp_path):
    text = '[project]\nname = "d"\nversion = "1"\ndependencies = ["iniconfig"]\n'
    (tmp_path / "pyproject.toml").write_text(fresh(text))
    image = SLIM().uv_sync(tmp_path, uv_version="0.8.0", extra_options="--no-dev")
    got, left = inside(image, found("iniconfig", "d"), "ls -A /root /tmp")
    assert got == "iniconfig" and left == "/root:\n.bashrc\n.profile\n\n/tmp:"


def test_a_python_that_the_image_lacks_fails_the_step_and_is_not_fetched(stage, project):
    text = PYPROJECT.replace(">=3.10", ">=3.99")
    (project / "pyproject.toml").write_text(text)
    (project / "uv.lock").unlink()
    with pytest.raises(windlass.exception.ImageBuildError, match=r"3\.99"):
        SLIM().uv_sync(project).build()


POETRY = """
[tool.poetry]
name = "demo"
version = "0.1.0"
description = "d"
authors = ["a <a@example.com>"]

[tool.poetry.dependencies]
python = "^3.10"
iniconfig = "2.0.0"

[tool.poetry.group.dev.dependencies]
sniffio = "1.3.1"

[tool.poetry.group.extra]
optional = true

[tool.poetry.group.extra.dependencies]
idna = "3.7"
"""

PACKAGE = """
[[package]]
name = "{name}"
version = "{version}"
description = ""
optional = false
python-versions = ">=3.7"
groups = ["{group}"]
files = [{{file = "{name}-{version}-py3-none-any.whl", hash = "sha256:{digest}"}}]
"""

LOCKED = [
    ("idna", "3.7", "extra", "82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0"),
    ("iniconfig", "2.0.0", "main", "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"),
    ("sniffio", "1.3.1", "dev", "2f6da418d1f1e0fddd844478f41680e794e6051915791a034ff65e5f100525a2"),
]

LOCK = "".join(PACKAGE.format(name=n, version=v, group=g, digest=d) for n, v, g, d in LOCKED) + """
[metadata]
lock-version = "2.1"
python-versions = "^3.10"
content-hash = "db4143f8b41b015aded9c51eb726b455ce7930291c06e967c67fcabe31afb351"
"""

NAMES = ("iniconfig", "sniffio", "idna", "demo", "poetry")


def test_poetry_installs_what_is_locked_and_is_not_kept(stage, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(fresh(POETRY))
    (tmp_path / "poetry.lock").write_text(LOCK)
    before = set(os.listdir(stage.home / "layers"))
    assert inside(SLIM().poetry_install_from_file(path), found(*NAMES)) == ["iniconfig sniffio"]
    [layer] = set(os.listdir(stage.home / "layers")) - before
    files = stage.home / "layers" / layer / "files"
    kept = {str(p.relative_to(files)) for p in (*files.glob("*"), *files.glob("*/*"))}
    assert kept <= {"usr", "usr/local", "tmp", "root"}, kept
    path.write_text(POETRY.replace('"2.0.0"', '"2.0.1"'))
    with pytest.raises(windlass.exception.ImageBuildError, match=r"poetry\.lock was last generated"):
        SLIM().poetry_install_from_file(path).build()


def test_poetry_chooses_versions_anew_where_the_lock_is_ignored(stage, tmp_path):
    path = tmp_path / "pyproject.toml"
    source = '\n[[tool.poetry.source]]\nname = "index"\nurl = "https://pypi.org/simple/"\npriority = "primary"\n'
    path.write_text(fresh(POETRY + source))
    image = SLIM().poetry_install_from_file(path, ignore_lockfile=True, only=["extra"], poetry_version="2.1.3")
    assert inside(image, found(*NAMES)) == ["idna"]
