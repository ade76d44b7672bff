"""Projects' files, read."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.client import projects


def write(folder: Path, text: str, name: str = "pyproject.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_dependencies_are_those_of_the_project_and_of_the_groups_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, '[project]\ndependencies = ["b", "a"]\n[project.optional-dependencies]\nx = ["c", "a"]\n')
    assert projects.dependencies(path, []) == ["a", "b"]
    assert projects.dependencies(path, ["x"]) == ["a", "b", "c"]
    with pytest.raises(exception.InvalidError, match="'y'") as caught:
        projects.dependencies(path, ["y"])
    assert "x" in caught.value.hint


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.poetry.dependencies]\na = '1'\n"])
def test_a_project_without_dependencies_is_a_value_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"\[project\]"):
        projects.dependencies(write(tmp_path, text), [])


def test_what_is_missing_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        projects.dependencies(tmp_path / "gone", [])
    with pytest.raises(exception.InvalidError, match="cannot be read"):
        projects.read(write(tmp_path, "a = = 1"))
    with pytest.raises(exception.NotFoundError, match=r"pyproject\.toml"):
        projects.uv(tmp_path / "gone")
    with pytest.raises(exception.NotFoundError, match=r"poetry\.lock"):
        projects.poetry(write(tmp_path, ""), None, ignore_lockfile=False)


def test_uv_takes_both_files_and_no_workspace(tmp_path: Path) -> None:
    write(tmp_path, "[project]\n")
    assert projects.uv(tmp_path) == {"pyproject.toml": "[project]\n"}
    write(tmp_path, "version = 1\n", "uv.lock")
    assert projects.uv(tmp_path)["uv.lock"] == "version = 1\n"
    write(tmp_path, "[tool.uv.workspace]\nmembers = []\n")
    with pytest.raises(exception.InvalidError, match="workspace"):
        projects.uv(tmp_path)


def test_poetry_installs_all_groups_but_the_optional_ones(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[tool.poetry.group.docs.dependencies]\na = '1'\n[tool.poetry.group.extra]\noptional = true\n"
        "[tool.poetry.dev-dependencies]\nb = '1'\n[dependency-groups]\nlint = []\n",
    )

    def options(with_: list[str], without: list[str], only: list[str]) -> list[str]:
        return projects.poetry_groups(path, with_=with_, without=without, only=only)

    assert options([], [], []) == ["--with", "dev,docs,lint"]
    assert options(["extra"], ["dev", "lint"], []) == ["--with", "docs,extra", "--without", "dev,lint"]
    assert options([], [], ["docs", "extra"]) == ["--only", "docs,extra"]
    assert projects.poetry_groups(write(tmp_path, ""), with_=[], without=[], only=[]) == []


def test_the_lock_is_beside_the_project_or_where_it_is_said_to_be(tmp_path: Path) -> None:
    path, lock = write(tmp_path, ""), write(tmp_path, "locked", "other.lock")
    assert projects.poetry(path, lock, ignore_lockfile=False)["poetry.lock"] == "locked"
    assert list(projects.poetry(path, lock, ignore_lockfile=True)) == ["pyproject.toml"]
