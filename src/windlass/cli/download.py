"""A stream of bytes from the platform into a file of the user's: whole under its name, or not there."""
from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from windlass import exception, paths
from windlass.cli import control, listing

Tell = Callable[[str], None]


def image(query: dict[str, Any], file: str, *, tell: Tell) -> int:
    """Write the archive of an image to ``file`` ("-": stdout) and give back its size.

    Raises ``exception.ExecutionError`` where the file cannot be written.
    """
    from windlass.client import bridge, session

    if file == "-" and sys.stdout.isatty():
        raise exception.InvalidError("an archive is nothing for a terminal", hint="Give a file name, or pipe it on.")
    control.ensure(paths.home(), worker=True)
    size = 0

    async def receive(sink: BinaryIO) -> None:
        nonlocal size
        async with contextlib.aclosing(session.current().stream("image.export", query)) as pieces:
            async for piece in pieces:
                for data in piece.attachments:
                    sink.write(data)
                    size += len(data)
                if piece.body["of"]:
                    tell(f"{100 * piece.body['done'] // piece.body['of']:>3} %  {listing.size(size)} written")

    try:
        with _whole(file) as sink:
            bridge.run(receive(sink))
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise exception.ExecutionError(f"cannot write {file}: {exc.strerror or exc}") from exc
    return size


@contextlib.contextmanager
def _whole(file: str) -> Iterator[BinaryIO]:
    """A new file that gets its name when the block ends well."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            yield sink
            sink.flush()
            if hasattr(os, "fchmod"):  # not on Windows
                os.fchmod(descriptor, 0o666 & ~_mask())
            os.fsync(descriptor)
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(draft).unlink()
        raise


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
