r"""Paths of Linux machines, named by programs on any machine: on Windows ``Path("/cache")`` calls itself ``\cache``."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def forward(path: Any) -> Any:
    """A path object's name with slashes; anything else as it is, for whoever checks it."""
    return path.as_posix() if hasattr(path, "as_posix") else path
