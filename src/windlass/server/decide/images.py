"""The key of a layer: what it is made of and what it stands on. Same recipe on same parent, same key."""

from __future__ import annotations

import hashlib
import json

from windlass import exception
from windlass.kit import ids
from windlass.wire.messages import images

BUILDER_VERSION = "2026.11"
"""Ours: what keys begin with where nobody asks for another one."""

KNOWN_VERSIONS = ("2023.12", "2024.04", "2024.10", "2025.06", "2026.10", BUILDER_VERSION)
"""Names that may be asked for. All are built in the same way; each has layers of its own."""

_INSTALL = {
    "apt": "apt-get install", "pip": "pip install", "private_pip": "pip install", "uv_pip": "uv pip install",
    "uv_sync": "uv sync", "poetry": "poetry install", "micromamba": "micromamba install",
}  # fmt: skip


def check_version(name: str) -> None:
    """Raises ``InvalidError`` for a builder version that nobody knows; "" is the server's own."""
    if name and name not in KNOWN_VERSIONS:
        raise exception.InvalidError(
            f"image_builder_version {name[:60]!r} is not known", hint=f"Known: {', '.join(KNOWN_VERSIONS)}."
        )


def key(
    parent: str | None, recipe: images.Recipe, secret_names: list[str], builder_version: str = BUILDER_VERSION
) -> str:
    """``parent`` is an image id. Secrets count by identity (their names or variable names), never by value."""
    document = [builder_version, parent or "", images.content(recipe), secret_names]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def image_id(key: str, generation: str = "") -> str:
    """The id of what ``key`` is built into; each forced rebuild has its own ``generation``."""
    number = int.from_bytes(hashlib.sha256(f"{key}/{generation}".encode()).digest(), "big")
    digits = []
    for _ in range(ids.LENGTH):
        number, digit = divmod(number, 62)
        digits.append(ids.ALPHABET[digit])
    return "im-" + "".join(digits)


def command(recipe: images.Recipe) -> str:
    """The step as people read it."""
    op = recipe.get("op", "")
    if op == "base" and recipe.get("base") == "image":
        return f"image {recipe.get('image', '')}"
    if op == "base" and recipe.get("base") in ("registry", "scratch"):
        return f"FROM {recipe.get('tag') or 'scratch'}"
    if op == "base":
        return f"{recipe.get('base', '')} python {recipe.get('python', '')}"
    if op == "python":
        return f"add Python {recipe.get('python', '')}"
    if op == "run":
        program = recipe.get("script", "").partition("\n")[0]
        return " ".join(recipe.get("argv", [])) or program or " && ".join(recipe.get("commands", []))
    if op in _INSTALL:
        return " ".join([_INSTALL[op], *recipe.get("options", []), *recipe.get("packages", [])])
    if op == "function":
        function = recipe.get("function")
        return f"run_function {function['qualname'] if function else ''}"
    if op == "env":
        return "ENV " + " ".join(sorted(recipe.get("env", {})))
    if op in ("workdir", "folder"):
        return f"WORKDIR {recipe.get('path', '')}"
    if op in ("copy", "fetch"):
        return _copied(recipe)
    if op == "user":
        return f"USER {recipe.get('user', '')}"
    return " ".join([op.upper(), *recipe.get("commands", [])])


def _copied(recipe: images.Recipe) -> str:
    if recipe.get("op") == "fetch":
        return f"ADD {recipe.get('url', '')} {recipe.get('path', '')}"
    sources = recipe.get("sources")
    if not sources:
        return "COPY local files"
    origin = ["--from=" + recipe["image"]] if recipe.get("image") else []
    return " ".join(["COPY", *origin, *sources, recipe.get("path", "/")])
