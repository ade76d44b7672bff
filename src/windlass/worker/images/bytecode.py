"""Compiles the Python packages of an image. A program: staged for steps, run by the Python of the image.

Containers start quicker when nobody has to compile what they import. Tests of packages are left out: they are a third
of numpy, and no program imports them. A module that does not compile (a template) is none of our business.
"""
from __future__ import annotations

# ruff: noqa: PTH112, PTH116, PTH118, PTH123, RUF005 - it starts quickly, on any Python
import os
import site
import struct
import sysconfig
from collections.abc import Iterator


def _folders() -> list[str]:
    paths = sysconfig.get_paths()
    found = [paths.get("purelib"), paths.get("platlib")] + list(getattr(site, "getsitepackages", list)())
    return sorted({os.path.realpath(folder) for folder in found if folder and os.path.isdir(folder)})


def _wanted(folder: str) -> Iterator[str]:
    from importlib.util import cache_from_source

    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("__pycache__", "tests", "test", "node_modules")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(place, name)
                if not _compiled(path, cache_from_source(path)):
                    yield path


def _compiled(path: str, cached: str) -> bool:
    """Whether the file that is there already was made from this source."""
    try:
        state = os.stat(path)
        with open(cached, "rb") as file:
            flags, when, size = struct.unpack("<III", file.read(16)[4:])
    except (OSError, struct.error):
        return False
    return bool(flags) or (when, size) == (int(state.st_mtime) & 0xFFFFFFFF, state.st_size & 0xFFFFFFFF)


def _compile(paths: list[str]) -> None:
    import py_compile

    for path in paths:
        try:
            py_compile.compile(path, doraise=True)
        except Exception:  # noqa: BLE001 - the edge of other people's code
            continue


def main() -> None:
    """Compile what is not compiled yet, with as many processes as there are processors."""
    paths = sorted({path for folder in _folders() for path in _wanted(folder)}, key=os.path.getsize)
    count = min(len(os.sched_getaffinity(0)), 1 + len(paths) // 50)
    for number in range(1, count):
        if os.fork() == 0:
            _compile(paths[number::count])
            os._exit(0)
    _compile(paths[0::count])
    for _ in range(1, count):
        os.wait()


if __name__ == "__main__":
    main()
