"""What a virtual machine's kernel begins with: as little of the worker's own Python as ``guest`` needs, and modules.

An archive of cpio's "newc" kind, not compressed, so that the kernel has it at once. What Python needs is asked of
Python: it imports the first process and says which files that took.
"""
from __future__ import annotations

import json
import os
import py_compile
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_SAY = """
from windlass.worker.sandboxes.vm import guest
import json, linecache, sys, traceback
maps = [line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if line.count('/')]
files = [m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]
print(json.dumps({"maps": sorted(set(maps)), "files": sorted(set(files))}))
"""
_LOADER = "/lib64/ld-linux-x86-64.so.2"
_SEGMENTS, _SECTIONS, _COUNTS = 0x20, 0x28, 0x3C  # places in the head of an ELF file
_FOLDER, _FILE, _PROGRAM = 0o40755, 0o100644, 0o100755
ENVIRONMENT = {"PYTHONHOME": "/python", "PYTHONPATH": "/code", "LD_LIBRARY_PATH": "/lib", "PYTHONUTF8": "1"}
"""Of the first process; the kernel hands on what it does not know of its command line."""
INIT = b"#!/bin/python -sSB\nfrom windlass.worker.sandboxes.vm import guest\nguest.main()\n"


def archive(code: Path, modules: Mapping[str, bytes]) -> Iterator[bytes]:
    """``code``: the folder that holds the package; ``modules``: of the kernel, by the names of their files."""
    tree = dict(_python(code))
    tree["/init"] = (INIT, _PROGRAM)
    for path in code.rglob("*.py"):
        tree[f"/code/{path.relative_to(code)}"] = (path.read_bytes(), _FILE)
    for name, body in modules.items():
        tree[f"/modules/{name}"] = (body, _FILE)
    yield from _packed(tree)


def _python(code: Path) -> Iterator[tuple[str, tuple[bytes, int]]]:
    program = os.path.realpath(sys.executable)
    line = [program, "-sSB", "-c", _SAY]
    own = {"PATH": os.defpath, "PYTHONPATH": str(code)}
    said = subprocess.run(line, env=own, capture_output=True, text=True, check=True, timeout=30)
    found = json.loads(said.stdout)
    home = Path(sys.base_prefix)
    extensions = set()
    for name in found["files"]:
        path = Path(name)
        place = f"/python/{path.relative_to(home)}" if path.is_relative_to(home) else ""
        if path.suffix == ".py" and place:
            yield place + "c", (_compiled(path), _FILE)
        elif place:
            extensions.add(os.path.realpath(path))
            yield place, (loaded(path.read_bytes()), _PROGRAM)
    for name in found["maps"]:
        if name == program:
            yield "/bin/python", (loaded(Path(name).read_bytes()), _PROGRAM)
        elif "/ld-" in name or name == os.path.realpath(_LOADER):
            yield _LOADER, (loaded(Path(name).read_bytes()), _PROGRAM)
        elif ".so" in name and name not in extensions:
            yield f"/lib/{_soname(Path(name))}", (loaded(Path(name).read_bytes()), _PROGRAM)


def _compiled(path: Path) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".pyc") as file:
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), cfile=file.name, dfile=path.name, doraise=True, invalidation_mode=mode)
        return Path(file.name).read_bytes()


def loaded(program: bytes) -> bytes:
    """An ELF file without what is never loaded, which follows the rest: symbols, and what debuggers want."""
    table, size, count = struct.unpack_from("<Q14xHH", program, _SEGMENTS)[0:3]
    segments = [struct.unpack_from("<II6Q", program, table + size * number) for number in range(count)]
    end = max((offset + length for _, _, offset, _, _, length, _, _ in segments), default=len(program))
    return program[:_SECTIONS] + bytes(8) + program[_SECTIONS + 8 : _COUNTS] + bytes(4) + program[_COUNTS + 4 : end]


def _soname(path: Path) -> str:
    """The name that others ask for a library by: that of a link beside it, where it has one ("libz.so.1")."""
    beside = [link.name for link in path.parent.glob(f"{path.name.split('.so')[0]}.so*") if link.resolve() == path]
    numbered = sorted(name for name in beside if name.split(".so")[1].count(".") == 1)
    return numbered[0] if numbered else path.name


def _packed(tree: Mapping[str, tuple[bytes, int]]) -> Iterator[bytes]:
    folders = sorted({str(above) for name in tree for above in Path(name).parents} - {"/"})
    number = 0
    for number, name in enumerate([*folders, "/proc", "/sys", "/dev"], 1):
        yield _entry(name[1:], _FOLDER, b"", number)
    yield _entry("dev/console", 0o020600, b"", number + 1, device=(5, 1))
    for inode, (name, (body, mode)) in enumerate(tree.items(), number + 2):
        yield _entry(name[1:], mode, body, inode)
    yield _entry("TRAILER!!!", 0, b"", 0)


def _entry(name: str, mode: int, body: bytes, inode: int, device: tuple[int, int] = (0, 0)) -> bytes:
    words = (inode, mode, 0, 0, 1, 0, len(body), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + body + bytes(-len(body) % 4)
