"""Which Python an image has: what its ``PATH`` finds first, as the container would, and the version that files tell.

Asked after each step, because any command may install another one. A few lookups in the layers answer it nearly always;
a program whose version no file tells (a wrapper script, say) is run once.
"""
from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from windlass.worker import spec
from windlass.worker.images import cache, stack

NAMES = ("python3", "python")
"""Commands that may be the interpreter, the better first."""

ASK = (
    "import sys; sys.stdout.write('Python %d.%d' % sys.version_info[:2]"
    " + 't' * ('t' in getattr(sys, 'abiflags', '')))"
)
"""A program, for any Python, that writes its version; "t" marks an interpreter without the global lock."""

_SERIES = r"\d+\.\d+t?"
_NAMED = re.compile(rf"(?:python|pypy)({_SERIES})")
_SAID = re.compile(rf"Python ({_SERIES})")
_CONFIGURED = re.compile(rb"^version(?:_info)?\s*=\s*(\d+\.\d+)", re.MULTILINE)


class Found(NamedTuple):
    """``name``: the command, "" where there is none. ``version``: "3.12", or "" where no file tells it."""

    name: str
    version: str


def find(layers: Sequence[Path], search: str) -> Found:
    """What starts Python in a stack of ``layers`` (bottom first) whose ``PATH`` is ``search``."""
    for name in NAMES:
        for folder in search.split(":"):
            place = PurePosixPath(folder)
            if place.is_absolute() and (program := _program(layers, place / name)) is not None:
                return Found(name, _version(layers, place, program))
    return Found("", "")


def of(record: cache.Record, layers: Sequence[Path]) -> Found:
    """``find`` with the words of an image."""
    return find(layers, record["env"].get("PATH", spec.PATH))


async def described(
    record: cache.Record, layers: Sequence[Path], run: Callable[[list[str]], Awaitable[str]]
) -> cache.Record:
    """``record`` with the Python that the image has. ``run`` gives the output of a command in it, "" where it fails."""
    found = await asyncio.to_thread(of, record, layers)
    version = found.version
    if found.name and not version:
        said = _SAID.search(await run([found.name, "-c", ASK]))
        version = said.group(1) if said else ""
    return {**record, "python": version, "program": found.name if version else ""}


def _program(layers: Sequence[Path], path: PurePosixPath) -> stack.Entry | None:
    entry = stack.find(layers, path)
    if entry is None or not stat.S_ISREG(entry.state.st_mode) or not entry.state.st_mode & 0o111:
        return None
    return entry


def _version(layers: Sequence[Path], folder: PurePosixPath, program: stack.Entry) -> str:
    if _is_script(program.path):
        return ""
    if named := _NAMED.fullmatch(program.inside.name):
        return named.group(1)
    for place in (folder, folder.parent):
        if told := _CONFIGURED.search(stack.read(layers, place / "pyvenv.cfg")):
            return told.group(1).decode()
    return _beside(layers, program.inside.parent.parent / "lib")


def _beside(layers: Sequence[Path], folder: Path) -> str:
    """The version whose standard library lies in ``folder``; "" for none or several."""
    versions = {
        match.group(1) for name in stack.names(layers, folder)
        if (match := _NAMED.fullmatch(name)) and stack.find(layers, PurePosixPath("/", folder, name, "os.py"))
    }  # fmt: skip
    return versions.pop() if len(versions) == 1 else ""


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
