"""From a recipe to the commands that a step runs. Pure."""
from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import images
from windlass.worker.images import function, private, projects, settings

PROGRAM = "/__windlass/program"
"""Where a step finds the program that a ``script`` is."""

REQUIREMENTS = "/__windlass/requirements"
"""Where a step finds requirement files, by number."""

_SHELL = ("/bin/sh", "-c")

# The first Python of the PATH, be it of a virtual environment: left alone, uv takes no such one.
_INTO_FIRST = '"$@" --python "$(command -v python3 || command -v python || echo python3)"'

# Options that mean the same to uv as to pip; with any other the step is left to pip.
_UV_KNOWS = frozenset({
    "--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index", "--pre", "--upgrade", "-U",
    "--upgrade-package", "--no-deps", "--force-reinstall", "--reinstall", "--no-build-isolation", "--no-binary",
    "--only-binary", "--require-hashes", "--constraint", "-c", "--requirement", "-r", "--no-cache-dir", "--no-cache",
    "--trusted-host", "--config-settings", "-C", "--no-compile", "--quiet", "-q", "--verbose", "-v", "--target", "-t",
})  # fmt: skip

# Variables for pip are for pip to obey, but for these, which make no difference to what is installed.
_PIP_TRIFLES = frozenset({
    "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PIP_PROGRESS_BAR", "PIP_NO_INPUT",
    "PIP_DEFAULT_TIMEOUT", "PIP_BREAK_SYSTEM_PACKAGES",
})  # fmt: skip

# Options that put packages where the image's Python does not find them.
_ELSEWHERE = frozenset({"--target", "-t", "--prefix", "--python", "-p"})
_THEN_COMPILE = f'{{ "$(command -v python3 || command -v python)" {settings.BYTECODE} || true; }}'


class Command(NamedTuple):
    """``shown`` is what people read when it fails."""

    argv: list[str]
    shown: str


def commands(
    recipe: images.Recipe, *, shell: Sequence[str], has_uv: bool, python: str = "python3", variables: Iterable[str] = ()
) -> list[Command]:
    """What to run, one after the other, until one fails.

    Args:
        recipe: the step.
        shell: the image's, or nothing.
        has_uv: whether uv can run in the image.
        python: the command that starts the image's Python.
        variables: names of those that image and step set.
    """
    op = recipe.get("op", "")
    if op in ("uv_pip", "uv_sync", "poetry") and not has_uv:
        raise exception.ImageBuildError(
            "uv cannot run here: the image needs glibc, libgcc_s.so.1 and /bin/sh, this machine uv beside Windlass",
            hint="Use pip_install, or a base with glibc; `pip install uv` puts uv beside Windlass.",
        )
    by_uv = has_uv and not any(name.startswith("PIP_") and name not in _PIP_TRIFLES for name in variables)
    if op == "run" and recipe.get("argv"):
        return [Command(recipe["argv"], shlex.join(recipe["argv"]))]
    if op == "run" and recipe.get("script"):
        return [Command([PROGRAM], recipe["script"].partition("\n")[0])]
    if op == "run":
        prefix = list(shell) or list(_SHELL)
        return [Command([*prefix, line], line) for line in recipe.get("commands", [])]
    if op == "apt":
        return [_apt(recipe.get("packages", []))]
    if op == "pip":
        return [_pip(recipe, by_uv, python)]
    if op == "micromamba":
        return [_micromamba(recipe)]
    if op == "uv_pip":
        return [_uv(recipe)]
    if op == "private_pip":
        return [Command([*_SHELL, private.GIT], "apt-get install git"), _pip(private.packages(recipe), by_uv, python)]
    if op in ("uv_sync", "poetry"):
        line = projects.line(recipe)
        return [Command([*_SHELL, line.text], line.shown)]
    if op == "function":
        return [Command([python, *function.ARGUMENTS], "run_function")]
    raise exception.ImageBuildError(f"this worker does not know the build step {op!r}")


def files(recipe: images.Recipe) -> dict[str, str]:
    """Texts of requirement files by the names that they have below ``REQUIREMENTS``. Programs look at the ending."""
    ending = PurePosixPath(recipe.get("path", "")).suffix or ".txt"
    return {f"{number}{ending}": text for number, text in enumerate(recipe.get("requirements", []))}


def _micromamba(recipe: images.Recipe) -> Command:
    words = ["micromamba", "install", "--yes", "--name", "base", *recipe.get("options", [])]
    for name in files(recipe):
        words += ["-f", f"{REQUIREMENTS}/{name}"]
    line = f"{shlex.join([*words, *recipe.get('packages', [])])} && micromamba clean --all --yes --quiet"
    return Command([*_SHELL, line], _shown("micromamba install", recipe))


def _apt(packages: Sequence[str]) -> Command:
    names = shlex.join(packages)
    install = "apt-get install -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io"
    line = f"apt-get update -q && {install} {names} && apt-get clean"
    return Command([*_SHELL, line], f"apt-get install {names}")


def _pip(recipe: images.Recipe, has_uv: bool, python: str) -> Command:
    if has_uv and all(_name(option) in _UV_KNOWS for option in recipe.get("options", []) if option.startswith("-")):
        # Of several indexes pip takes the best version of all; uv by itself that of the first.
        return _uv(recipe, ["--index-strategy", "unsafe-best-match"], shown="pip install")
    argv = [python, "-m", "pip", "install", "--no-cache-dir", "--no-input", "--progress-bar", "off"]
    return Command([*argv, *_what(recipe)], _shown("pip install", recipe))


def _uv(recipe: images.Recipe, flags: Sequence[str] = (), shown: str = "uv pip install") -> Command:
    version, names = recipe.get("uv"), {_name(option) for option in recipe.get("options", [])}
    argv = [*projects.uv(version), "pip", "install", "--break-system-packages", "--no-cache", "--no-progress", *flags]
    argv += _what(recipe, without=("--no-cache-dir", "--no-cache"))
    line = _INTO_FIRST
    if "--no-compile" not in names and names & _ELSEWHERE:
        argv.append("--compile-bytecode")
    elif "--no-compile" not in names:
        line = f"{line} && {_THEN_COMPILE}"
    return Command([*_SHELL, projects.beside(line) if version else line, "sh", *argv], _shown(shown, recipe))


def _what(recipe: images.Recipe, without: Sequence[str] = ()) -> list[str]:
    words = [option for option in recipe.get("options", []) if option not in without]
    if any("--hash=" in text for text in recipe.get("requirements", [])) and "--require-hashes" not in words:
        words.append("--require-hashes")  # pip takes one hash for the wish that all are checked, uv does not
    for name in files(recipe):
        words += ["-r", f"{REQUIREMENTS}/{name}"]
    return words + recipe.get("packages", [])


def _shown(name: str, recipe: images.Recipe) -> str:
    files = ["-r requirements"] * bool(recipe.get("requirements"))
    return " ".join([name, *recipe.get("options", []), *files, *recipe.get("packages", [])])


def _name(option: str) -> str:
    return option.partition("=")[0]


def environment(
    *,
    host: Mapping[str, str],
    image: Mapping[str, str],
    recipe: images.Recipe,
    secrets: Mapping[str, str],
    path: str,
    home: str = "/root",
) -> dict[str, str]:
    """The variables of a step; later ones win: ours, the machine's, the image's, the step's, its secrets."""
    ours = {"PATH": path, "HOME": home, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb"}
    found = {**ours, **host, **image, **recipe.get("env", {}), **secrets}
    return {**found, **private.environment(recipe, found)} if recipe.get("op") == "private_pip" else found
