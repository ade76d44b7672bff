"""From a recipe to the commands that a step runs. Pure."""
from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from windlass import exception
from windlass.wire.messages import images
from windlass.worker.images import settings

TREE = "/__windlass/copy"
"""Where a step finds the files that a "copy" puts into the image."""

REQUIREMENTS = "/__windlass/requirements"
"""Where a step finds requirement files, by number."""

_SHELL = ("/bin/sh", "-c")

# Options that mean the same to uv as to pip; with any other the step is left to pip.
_UV_KNOWS = frozenset({
    "--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index", "--pre", "--upgrade", "-U",
    "--upgrade-package", "--no-deps", "--force-reinstall", "--reinstall", "--no-build-isolation", "--no-binary",
    "--only-binary", "--require-hashes", "--constraint", "-c", "--requirement", "-r", "--no-cache-dir", "--no-cache",
    "--trusted-host", "--config-settings", "-C", "--no-compile", "--quiet", "-q", "--verbose", "-v", "--target", "-t",
})  # fmt: skip

# Options that put packages where the image's Python does not find them.
_ELSEWHERE = frozenset({"--target", "-t", "--prefix", "--python", "-p"})
_THEN_COMPILE = f'"$@" && {{ "$(command -v python || command -v python3)" {settings.BYTECODE} || true; }}'


class Command(NamedTuple):
    """``shown`` is what people read when it fails."""

    argv: list[str]
    shown: str


def commands(recipe: images.Recipe, *, shell: Sequence[str], has_uv: bool) -> list[Command]:
    """What to run, one after the other, until one fails."""
    op = recipe.get("op", "")
    if op == "run":
        prefix = list(shell) or list(_SHELL)
        return [Command([*prefix, line], line) for line in recipe.get("commands", [])]
    if op == "apt":
        return [_apt(recipe.get("packages", []))]
    if op == "copy":
        return [Command([*_SHELL, _copy()], "COPY local files")]
    if op == "pip":
        return [_pip(recipe, has_uv)]
    if op == "uv_pip":
        return [_uv(recipe)]
    raise exception.ImageBuildError(f"this worker does not know the build step {op!r}")


def _apt(packages: Sequence[str]) -> Command:
    names = shlex.join(packages)
    install = "apt-get install -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io"
    line = f"apt-get update -q && {install} {names} && apt-get clean"
    return Command([*_SHELL, line], f"apt-get install {names}")


def _copy() -> str:
    """Through tar, because it leaves folders that exist, and links to folders, as they are."""
    return (
        f"tar -C {TREE} --owner=0 --group=0 --sort=name -cf - . | "
        "tar -C / --same-owner --keep-directory-symlink --no-overwrite-dir -xpf -"
    )


def _pip(recipe: images.Recipe, has_uv: bool) -> Command:
    if has_uv and all(_name(option) in _UV_KNOWS for option in recipe.get("options", []) if option.startswith("-")):
        # Of several indexes pip takes the best version of all; uv by itself that of the first.
        return _uv(recipe, ["--index-strategy", "unsafe-best-match"], shown="pip install")
    argv = ["python3", "-m", "pip", "install", "--no-cache-dir", "--no-input", "--progress-bar", "off"]
    return Command([*argv, *_what(recipe)], _shown("pip install", recipe))


def _uv(recipe: images.Recipe, flags: Sequence[str] = (), shown: str = "uv pip install") -> Command:
    program = [settings.UV]
    if version := recipe.get("uv"):
        program += ["tool", "run", "--no-cache", f"uv@{version}"]
    argv = [*program, "pip", "install", "--system", "--break-system-packages", "--no-cache", "--no-progress", *flags]
    argv += _what(recipe, without=("--no-cache-dir", "--no-cache"))
    names = {_name(option) for option in recipe.get("options", [])}
    if "--no-compile" in names:
        return Command(argv, _shown(shown, recipe))
    if names & _ELSEWHERE:
        return Command([*argv, "--compile-bytecode"], _shown(shown, recipe))
    return Command([*_SHELL, _THEN_COMPILE, "sh", *argv], _shown(shown, recipe))


def _what(recipe: images.Recipe, without: Sequence[str] = ()) -> list[str]:
    words = [option for option in recipe.get("options", []) if option not in without]
    if any("--hash=" in text for text in recipe.get("requirements", [])) and "--require-hashes" not in words:
        words.append("--require-hashes")  # pip takes one hash for the wish that all are checked, uv does not
    for number in range(len(recipe.get("requirements", []))):
        words += ["-r", f"{REQUIREMENTS}/{number}.txt"]
    return words + recipe.get("packages", [])


def _shown(name: str, recipe: images.Recipe) -> str:
    files = ["-r requirements"] * bool(recipe.get("requirements"))
    return " ".join([name, *recipe.get("options", []), *files, *recipe.get("packages", [])])


def _name(option: str) -> str:
    return option.partition("=")[0]


def environment(
    *, host: Mapping[str, str], image: Mapping[str, str], recipe: images.Recipe, secrets: Mapping[str, str], path: str
) -> dict[str, str]:
    """The variables of a step; later ones win: ours, the machine's, the image's, the step's, its secrets."""
    ours = {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb"}
    return {**ours, **host, **image, **recipe.get("env", {}), **secrets}
