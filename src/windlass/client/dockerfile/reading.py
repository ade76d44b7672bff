"""A Dockerfile from the disk."""
from __future__ import annotations

from windlass import exception
from windlass.client.dockerfile import lines, stages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 4 * 1024 * 1024


def dockerfile(file: Path, build_args: Mapping[str, str]) -> stages.File:
    """Raises ``FileNotFoundError``, or ``ImageBuildError`` that shows the line."""
    if not file.exists():
        raise FileNotFoundError(f"there is no Dockerfile {str(file)!r}")
    if not file.is_file():
        raise exception.InvalidError(f"{str(file)!r} is no file")
    data = file.read_bytes()
    if len(data) > _LARGEST:
        raise exception.ImageBuildError(f"{file} has more than {_LARGEST:,} bytes: it is no Dockerfile")
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        number = data.count(b"\n", 0, exc.start) + 1
        shown = data.split(b"\n")[number - 1].decode(errors="replace")
        raise lines.Line(str(file), number, shown, "").fault("this is not UTF-8") from None
    return stages.read(text, str(file), build_args)
