"""What may be a variable of a secret. Messages name the variable, never its value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from windlass import exception

MOST_KEY = 16_384
MOST_VALUE = 32_768
MOST_BYTES = 131_071
"""Of a variable, name and all: no program can be started with a longer one."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check(env: Mapping[str, str]) -> None:
    for key, value in env.items():
        if not _KEY.match(key) or len(key) > MOST_KEY:
            raise exception.InvalidError(
                f"{key[:60]!r} cannot name an environment variable",
                hint=f"Use letters, digits and _, no digit first, and at most {MOST_KEY:,} of them.",
            )
        if len(value) > MOST_VALUE or "\0" in value:
            raise exception.InvalidError(
                f"the value of {key[:60]!r} cannot be that of an environment variable",
                hint=f"Values have at most {MOST_VALUE:,} characters, and no zero byte.",
            )
        if not 0 <= size(f"{key}={value}") <= MOST_BYTES:
            raise exception.InvalidError(
                f"the value of {key[:60]!r} cannot be that of an environment variable",
                hint=f"With its name it has at most {MOST_BYTES:,} bytes of UTF-8, and no halves of characters.",
            )


def size(text: str) -> int:
    """Bytes in the environment of a program; -1 for what cannot be there."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # which holds the value, and is not passed on
        return -1
