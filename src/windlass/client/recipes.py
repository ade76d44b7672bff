"""Checks the arguments of image methods and turns them into recipes (``wire.messages.images.Recipe``). Pure."""
from __future__ import annotations

from windlass import exception
from windlass.kit import slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from windlass.client import imaging
    from windlass.client import mount as mounts
    from windlass.client import object as objects
    from windlass.wire.messages import functions, images

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
_FIRST_FREE_THREADED = 13  # of Python 3


class Step:
    """One recipe of an image, and what must be resolved before it can be sent.

    ``gpus``: of those recipes that run something. ``volumes``, ``shared``: volumes and network file systems by the
    paths that they are mounted at.
    ``expand``: makes the recipes that stand in this step's place when the image is built; ``recipe`` then holds only
    what is common to all of them. ``needs``: objects that must be hydrated before.
    """

    __slots__ = ("expand", "gpus", "mount", "needs", "recipe", "requirements", "secrets", "shared", "volumes")

    def __init__(
        self,
        recipe: images.Recipe,
        *,
        secrets: Collection[objects.Object] = (),
        mount: mounts.Mount | None = None,
        requirements: Sequence[str | os.PathLike[str]] = (),
        expand: Callable[[imaging.Around], Awaitable[list[images.Recipe]]] | None = None,
        needs: Sequence[objects.Object] = (),
        volumes: Mapping[str, objects.Object] | None = None,
        shared: Mapping[str, objects.Object] | None = None,
        gpus: Sequence[functions.GpuSpec] = (),
    ) -> None:
        self.recipe = recipe
        self.secrets = tuple(secrets)
        self.mount = mount
        self.requirements = tuple(requirements)
        self.expand = expand
        self.volumes = dict(volumes or {})
        self.shared = dict(shared or {})
        self.gpus = list(gpus)
        self.needs = (*needs, *self.volumes.values(), *self.shared.values())


def series(python_version: object) -> str:
    """The "major.minor" of a version given by the user; None means the Python that runs here.

    Raises:
        TypeError: the version is no string (3.10 as a number would mean 3.1).
        InvalidError: the series is not supported.
    """
    if python_version is None:
        import sys

        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not isinstance(python_version, str):
        raise TypeError(
            f"python_version must be a string such as \"3.12\", not {type(python_version).__name__} {python_version!r}"
        )
    parts = python_version.split(".")
    if len(parts) not in (2, 3) or not all(part.isdecimal() for part in parts):
        raise exception.InvalidError(f"python_version must look like \"3.12\" or \"3.12.4\", not {python_version!r}")
    found = ".".join(parts[:2])
    if found not in PYTHONS:
        raise exception.InvalidError(f"Python {found} is not supported; choose one of {', '.join(PYTHONS)}")
    return found


def added_python(version: object) -> str:
    """The series of a Python to add to an image: "3.12", or "3.14t" for one without the global lock.

    Raises:
        InvalidError: it is no supported series.
    """
    plain = version[:-1] if isinstance(version, str) and version.endswith("t") else version
    if plain not in PYTHONS or (plain != version and int(str(plain).partition(".")[2]) < _FIRST_FREE_THREADED):
        raise exception.InvalidError(
            f"add_python takes a series such as \"3.12\", not {version!r}", hint=f"Choose one of {', '.join(PYTHONS)}."
        )
    return str(version)


def packages(method: str, given: Sequence[object]) -> list[str]:
    """Names of packages, from strings and lists of strings, sorted.

    Raises:
        InvalidError: something else was given, or a flag.
    """
    flat = _flatten(method, given)
    for package in flat:
        if package.lstrip().startswith("-"):
            raise exception.InvalidError(
                f"{method}() takes package names, not the option {package!r}", hint="Pass options by extra_options."
            )
    return sorted(flat)


def commands(method: str, given: Sequence[object]) -> list[str]:
    """Shell commands, from strings and lists of strings, in order."""
    return _flatten(method, given)


def _flatten(method: str, given: Sequence[object]) -> list[str]:
    flat: list[str] = []
    for item in given:
        if isinstance(item, str):
            flat.append(item)
        elif isinstance(item, (list, tuple)) and all(isinstance(part, str) for part in item):
            flat.extend(item)
        else:
            raise exception.InvalidError(f"{method}() takes strings or lists of strings, not {item!r}")
    return flat


def strings(method: str, given: object) -> list[str]:
    """A list of strings, and nothing else."""
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise exception.InvalidError(f"{method}() takes a list of strings, not {given!r}")
    return list(given)


def variables(method: str, given: object, *, optional: bool = False) -> dict[str, str]:
    """Environment variables: a dict of strings. ``optional``: values of None are dropped."""
    if not isinstance(given, dict):
        raise exception.InvalidError(f"{method} takes a dict of strings, not {type(given).__name__}")
    checked: dict[str, str] = {}
    for name, value in given.items():
        if value is None and optional:
            continue
        if not isinstance(name, str) or not isinstance(value, str):
            raise exception.InvalidError(
                f"{method} takes strings as names and values, but {name!r} has a value of type {type(value).__name__}"
            )
        checked[name] = value
    return checked


def install_options(
    *, find_links: str | None, index_url: str | None, extra_index_url: str | None, pre: bool, extra_options: str
) -> list[str]:
    """Flags for pip and uv alike."""
    import shlex

    options: list[str] = []
    for flag, value in (
        ("--find-links", find_links), ("--index-url", index_url), ("--extra-index-url", extra_index_url),
    ):  # fmt: skip
        if value:
            options += [flag, value]
    if pre:
        options.append("--pre")
    return options + shlex.split(extra_options)


def requirements(path: str | os.PathLike[str]) -> str:
    """The text of a requirements file, with the files that it includes by ``-r`` in their place."""
    from pathlib import Path

    return _included(Path(path).expanduser(), frozenset())


def ending(path: str | os.PathLike[str]) -> str:
    """The suffix of a file's name, by which programs tell its format."""
    from pathlib import Path

    return Path(path).suffix


def _included(path: Path, above: frozenset[Path]) -> str:
    if path in above:
        raise exception.InvalidError(f"requirements file {str(path)!r} includes itself")
    lines: list[str] = []
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise exception.InvalidError(f"requirements file {str(path)!r} is no UTF-8 text: {exc}") from exc
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in ("-r", "--requirement"):
            lines.append(_included(path.parent / words[1], above | {path}))
        else:
            lines.append(line)
    return "\n".join(lines)


def remote_file(local_name: str, remote_path: object) -> str:
    """Where a file goes, relative to the container's root; a trailing slash keeps its name."""
    remote = remote_folder(remote_path)
    if str(remote_path).endswith("/"):
        remote = f"{remote}/{local_name}".lstrip("/")
    if not remote:
        raise exception.InvalidError("remote_path must name a file, or a folder with a trailing slash")
    return remote


def remote_folder(remote_path: object) -> str:
    """A folder's place relative to the container's root."""
    import posixpath

    remote = str(slashes.forward(remote_path))
    if not remote.startswith("/"):
        raise exception.InvalidError(f"remote_path must be absolute, not {remote!r}", hint="Begin it with a slash.")
    return posixpath.normpath(remote).lstrip("/")

