"""``modal.gpu`` of older programs. Its classes are gone: a GPU is a string, ``gpu="H100:2"``."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["A10G", "A100", "H100", "L4", "L40S", "T4", "Any", "parse_gpu_config"]


def _removed(what: str, kind: str, count: object = 1) -> NoReturn:
    word = kind if count in (1, None) else f"{kind}:{count}"
    raise exception.DeprecationError(f'{what} was removed; use gpu="{word}"')


class _GPUConfig:
    """Base of what was removed."""


class T4(_GPUConfig):
    """Removed: ``gpu="T4"``."""

    def __init__(self, count: int = 1) -> None:
        _removed("modal.gpu.T4", "T4", count)


class L4(_GPUConfig):
    """Removed: ``gpu="L4"``."""

    def __init__(self, count: int = 1) -> None:
        _removed("modal.gpu.L4", "L4", count)


class A100(_GPUConfig):
    """Removed: ``gpu="A100-40GB"`` or ``gpu="A100-80GB"``."""

    def __init__(self, *, count: int = 1, size: str | None = None) -> None:
        _removed("modal.gpu.A100", f"A100-{size.upper()}" if size else "A100", count)


class A10G(_GPUConfig):
    """Removed: ``gpu="A10"``."""

    def __init__(self, *, count: int = 1) -> None:
        _removed("modal.gpu.A10G", "A10", count)


class H100(_GPUConfig):
    """Removed: ``gpu="H100"``."""

    def __init__(self, *, count: int = 1) -> None:
        _removed("modal.gpu.H100", "H100", count)


class L40S(_GPUConfig):
    """Removed: ``gpu="L40S"``."""

    def __init__(self, *, count: int = 1) -> None:
        _removed("modal.gpu.L40S", "L40S", count)


class Any(_GPUConfig):  # type: ignore[no-redef]
    """Removed: ``gpu="any"``."""

    def __init__(self, *, count: int = 1) -> None:
        _removed("modal.gpu.Any", "any", count)


def parse_gpu_config(value: object) -> NoReturn:
    """Removed: what ``gpu=`` takes is a string."""
    _removed("modal.gpu.parse_gpu_config", value if isinstance(value, str) else "H100")
