"""The key of a layer: what it is made of and what it stands on. Same recipe on same parent, same key."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from windlass.kit import ids
from windlass.wire.messages import images

BUILDER_VERSION = "2026.11"
_NOT_CONTENT = frozenset({"force", "timeout", "secrets"})


def key(parent: str | None, recipe: images.Recipe, secret_names: list[str]) -> str:
    """``parent`` is an image id. Secrets count by identity (their names or variable names), never by value."""
    content: dict[str, Any] = {k: v for k, v in recipe.items() if k not in _NOT_CONTENT and v not in (None, [], {}, "")}
    document = [BUILDER_VERSION, parent or "", content, secret_names]
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
    if op == "base" and recipe.get("base") in ("registry", "scratch"):
        return f"FROM {recipe.get('tag') or 'scratch'}"
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
