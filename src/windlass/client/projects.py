"""What the files of a Python project say about its dependencies."""
from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from windlass import exception


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file, and what it says.

    Raises ``FileNotFoundError``, and ``InvalidError`` where it is no TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"local file {str(path)!r} does not exist")
    parser = _parser()
    try:
        text = path.read_text("utf-8")
        return text, parser.loads(text)
    except ValueError as exc:  # also of text that is no UTF-8
        raise exception.InvalidError(f"{str(path)!r} cannot be read: {exc}") from exc


def dependencies(path: Path, groups: list[str]) -> list[str]:
    """The requirements of ``[project]``, and of its optional groups ``groups``.

    Raises ``ValueError`` where it has none, ``InvalidError`` for a group that it does not have.
    """
    _, document = read(path)
    project = document.get("project")
    found = project.get("dependencies") if isinstance(project, dict) else None
    if not isinstance(project, dict) or found is None:
        raise ValueError(f"{str(path)!r} has no [project] with dependencies")
    optional = project.get("optional-dependencies", {})
    wanted = list(found)
    for group in groups:
        if group not in optional:
            known = ", ".join(sorted(optional)) or "none"
            raise exception.InvalidError(
                f"{str(path)!r} has no optional dependencies {group!r}", hint=f"It has {known}."
            )
        wanted += optional[group]
    if not all(isinstance(one, str) for one in wanted):
        raise exception.InvalidError(f"the dependencies in {str(path)!r} are not all strings")
    return sorted(set(wanted))


def uv(folder: Path) -> dict[str, str]:
    """The files that ``uv sync`` reads.

    Raises ``NotFoundError`` without a ``pyproject.toml``, ``InvalidError`` for a workspace.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        raise exception.NotFoundError(
            f"{str(folder)!r} has no pyproject.toml", hint="uv_sync() takes the folder of a project."
        )
    text, document = read(path)
    if "workspace" in _table(document, "tool", "uv"):
        raise exception.InvalidError(
            f"{str(path)!r} describes a workspace, which uv_sync() does not take",
            hint="Use the folder of a single project, or pip_install_from_requirements with what `uv export` writes.",
        )
    lock = folder / "uv.lock"
    return {path.name: text, **({lock.name: lock.read_text("utf-8")} if lock.is_file() else {})}


def poetry(pyproject: Path, lockfile: Path | None, *, ignore_lockfile: bool) -> dict[str, str]:
    """The files that Poetry reads. Without ``lockfile`` it is expected beside ``pyproject``.

    Raises ``FileNotFoundError``, ``NotFoundError`` where the lock file is missing.
    """
    files = {"pyproject.toml": read(pyproject)[0]}
    if ignore_lockfile:
        return files
    lock = lockfile or pyproject.with_name("poetry.lock")
    if not lock.is_file():
        raise exception.NotFoundError(
            f"there is no lock file {str(lock)!r}",
            hint="Make it with `poetry lock`, name it by poetry_lockfile=, or pass ignore_lockfile=True.",
        )
    return {**files, "poetry.lock": lock.read_text("utf-8")}


def poetry_groups(pyproject: Path, *, with_: list[str], without: list[str], only: list[str]) -> list[str]:
    """Options of ``poetry export`` for what ``poetry install`` would install: all groups that are not optional."""
    if only:
        return ["--only", ",".join(only)]
    document = read(pyproject)[1]
    tables = _table(document, "tool", "poetry", "group")
    found = {*tables, *_table(document, "dependency-groups")}
    if _table(document, "tool", "poetry", "dev-dependencies"):
        found.add("dev")
    wanted = {name for name in found if not _table(tables, name).get("optional")} | set(with_)
    chosen = [("--with", sorted(wanted - set(without))), ("--without", without)]
    return [word for flag, names in chosen if names for word in (flag, ",".join(names))]


def _table(document: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = document.get(name)
        document = found if isinstance(found, dict) else {}
    return document


def _parser() -> Any:
    for name in ("tomllib", "tomli"):  # the first since Python 3.11
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise exception.InvalidError(
        "reading a pyproject.toml needs Python 3.11, or the package tomli", hint="Install it: pip install tomli"
    )
