"""The program that compiles the packages of an image."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from windlass.worker.images import bytecode


def compiled(folder: Path) -> set[str]:
    """Paths of modules that have bytecode which Python takes."""
    found = set()
    for path in folder.rglob("*.py"):
        cached = Path(importlib.util.cache_from_source(str(path)))
        if cached.exists() and bytecode._compiled(str(path), str(cached)):
            found.add(str(path.relative_to(folder)))
    return found


def run(root: Path) -> None:
    """As a step does, in a virtual environment at ``root``."""
    subprocess.run([root / "bin/python", bytecode.__file__], check=True, timeout=60)


def test_everything_that_compiles_is_compiled_once_but_tests(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    (place,) = tmp_path.glob("lib/python*/site-packages")
    for name in ("one.py", "pkg/__init__.py", "pkg/tests/test_a.py", "bad.py", *(f"many/m{i}.py" for i in range(200))):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("def broken(:" if name == "bad.py" else f"name = {name!r}")
    run(tmp_path)
    assert compiled(place) == {"one.py", "pkg/__init__.py", *(f"many/m{i}.py" for i in range(200))}
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.pyc")}
    (place / "one.py").write_text("name = 'longer than before'")
    run(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in place.rglob("*.pyc")}
    assert [path.name.split(".")[0] for path in after if after[path] != before[path]] == ["one"]
    assert "one.py" in compiled(place)


def test_a_changed_source_counts_as_not_compiled(tmp_path: Path) -> None:
    source, cached = tmp_path / "a.py", tmp_path / "a.pyc"
    source.write_text("x = 1")
    assert not bytecode._compiled(str(source), str(cached))
    cached.write_bytes(b"short")
    assert not bytecode._compiled(str(source), str(cached))
    os.utime(source, (1, 1))
    cached.write_bytes(b"magi" + b"\0" * 4 + (1).to_bytes(4, "little") + (5).to_bytes(4, "little"))
    assert bytecode._compiled(str(source), str(cached))
