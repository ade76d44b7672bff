"""The key of a layer: what it is made of and what it stands on. Same recipe on same parent, same key."""

from __future__ import annotations

import hashlib
import json

from windlass.kit import ids
from windlass.wire.messages import images

BUILDER_VERSION = "2026.11"
"""Ours: what keys begin with where nobody asks for another one."""

KNOWN_VERSIONS = ("2023.12", "2024.04", "2024.10", "2025.06", "2026.10", BUILDER_VERSION)
"""Names that may be asked for. All are built in the same way; each has layers of its own."""


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
    if op == "base":
        return f"{recipe.get('base', '')} python {recipe.get('python', '')}"
    if op == "run":
        return " && ".join(recipe.get("commands", []))
    if op in ("apt", "pip", "uv_pip"):
        name = {"apt": "apt-get install", "pip": "pip install", "uv_pip": "uv pip install"}[op]
        return " ".join([name, *recipe.get("options", []), *recipe.get("packages", [])])
    if op == "env":
        return "ENV " + " ".join(sorted(recipe.get("env", {})))
    if op == "workdir":
        return f"WORKDIR {recipe.get('path', '')}"
    if op == "copy":
        return "COPY local files"
    return " ".join([op.upper(), *recipe.get("commands", [])])
