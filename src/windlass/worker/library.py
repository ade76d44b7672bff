"""The library staged for containers: what the runner needs of Windlass, and cloudpickle under a name of our own.

``lib/<hash>/`` is named after its content, made once, whole or not at all, and bind-mounted read-only into every
container. It is byte-compiled for this machine's Python here, and for an image's Python the first time such an image
runs, because compiling at each start would cost more than the start itself.
"""
from __future__ import annotations

import asyncio
import compileall
import hashlib
import importlib.util
import py_compile
import re
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import windlass
from windlass import compat
from windlass.wire import pickling

_NOT_INSIDE = frozenset({"server", "worker", "cli"})
_CACHE = "__pycache__"
_INSIDE = "/__windlass/lib"

Compile = Callable[[Path, Path], Awaitable[Path]]
"""Byte-compile the folder (first) with an image's own Python; the answer is a parallel tree, made below the second."""


class Library:
    """The staged library below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path: Path | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._compiled: set[str] = set()

    @property
    def path(self) -> Path:
        assert self._path is not None, "staged on entering"
        return self._path

    async def __aenter__(self) -> Library:
        for left in (*self._root.glob("lib/.new-*"), *self._root.glob("lib/.compile-*")):
            await asyncio.to_thread(shutil.rmtree, left, True)  # of a killed worker
        self._path = await asyncio.to_thread(_stage, self._root / "lib")
        self._compiled.add(_here())
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def prune(self) -> None:
        """Remove libraries of earlier versions. Only when no container is left that may use one."""
        for other in sorted((self._root / "lib").iterdir()):
            if re.fullmatch(r"[0-9a-f]{16}", other.name) and other != self.path:
                await asyncio.to_thread(shutil.rmtree, other, True)

    async def compiled_for(self, python: str, compile_with: Compile) -> Path:
        """The library, with byte code for ``python`` ("3.13", "3.13t"; "" where the image has none)."""
        if python and python not in self._compiled:
            async with self._locks.setdefault(python, asyncio.Lock()):
                if python not in self._compiled:
                    await self._compile(python, compile_with)
                    self._compiled.add(python)
        return self.path

    async def _compile(self, python: str, compile_with: Compile) -> None:
        mark = self.path / f".compiled-{python}"
        if mark.exists():
            return
        with tempfile.TemporaryDirectory(prefix=".compile-", dir=self.path.parent) as folder:
            compiled = await compile_with(self.path, Path(folder))
            await asyncio.to_thread(_adopt, compiled, self.path)
        mark.touch()


def _here() -> str:
    free = "t" if "t" in sys.abiflags else ""
    return f"{sys.version_info[0]}.{sys.version_info[1]}{free}"


def _stage(folder: Path) -> Path:
    sources = dict(_sources())
    digest = hashlib.sha256(sys.version.encode())
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + sources[name].read_bytes() + b"\0")
    target = folder / digest.hexdigest()[:16]
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        for name, source in sources.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
        _readable(draft)
        # Unchecked: the tree never changes, and a start must not look at sources.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(draft, quiet=1, invalidation_mode=mode, stripdir=str(draft), prependdir=_INSIDE)
        _readable(draft)
        draft.rename(target)
    except FileExistsError:
        pass
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _sources() -> Iterator[tuple[str, Path]]:
    """Files by their name in the library."""
    package = Path(windlass.__file__).parent
    for path in package.rglob("*.py"):
        name = path.relative_to(package)
        if name.parts[0] not in _NOT_INSIDE:
            yield f"windlass/{name}", path
    yield f"{compat.ALIAS}.py", package / "compat/stand_in.py"
    found = importlib.util.find_spec("cloudpickle")
    if found is not None and found.origin is not None:
        yield f"windlass/wire/pickling/{pickling.MODULE}", Path(found.origin).with_name(pickling.MODULE)


def _readable(tree: Path) -> None:
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _adopt(compiled: Path, library: Path) -> None:
    """Put byte code from a parallel tree into the library's ``__pycache__`` folders."""
    for path in compiled.rglob("*.pyc"):
        name = path.relative_to(compiled)
        source = library / name.parent / (name.name.partition(".")[0] + ".py")
        if not source.is_file() or path.is_symlink():
            continue
        target = source.parent / _CACHE / name.name
        draft = target.with_suffix(".new")
        shutil.copyfile(path, draft)
        draft.chmod(0o644)
        draft.rename(target)
