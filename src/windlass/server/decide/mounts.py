"""Which places in one container go together.

A volume's mount is exchanged while its container runs, which a mount inside it would prevent; and a place inside a
network file system would be a folder that all others see. So those two never lie inside each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from windlass import exception


def check_apart(shared: Sequence[tuple[str, str]], volumes: Sequence[str]) -> None:
    """Raise ``InvalidError`` where a network file system has two places, or one that something else has.

    Args:
        shared: id and path of each network file system.
        volumes: paths of volumes.
    """
    seen: dict[str, str] = {}
    taken = [(path, "a volume") for path in volumes]
    for identity, path in shared:
        if identity in seen:
            raise exception.InvalidError(
                f"network file system {identity} is mounted twice, at {seen[identity]} and at {path}"
            )
        seen[identity] = path
        for other, what in taken:
            if _inside(path, other) or _inside(other, path):
                raise exception.InvalidError(
                    f"a network file system cannot be mounted at {path!r}: {what} is mounted at {other!r}",
                    hint="Give each a folder of its own.",
                )
        taken.append((path, "a network file system"))


def _inside(path: str, folder: str) -> bool:
    """Whether it is that folder, or below it."""
    return _parts(path)[: len(_parts(folder))] == _parts(folder)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
