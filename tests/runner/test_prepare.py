"""Which module a function is found in."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from windlass.runner import prepare

_SCRIPT = "def double(x):\n    return 2 * x\n"


def _fetch(digest: str) -> bytes:
    raise AssertionError("nothing is fetched")


def _double(name: str, definition: str = "file") -> Any:
    return prepare.function(cast(Any, {"definition": definition, "module": name, "qualname": "double"}), _fetch)


@pytest.mark.parametrize("name", ["site", "queue", "time"])  # imported early, imported by most, built in
def test_a_script_may_be_called_as_a_module_of_python(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / f"{name}.py").write_text(_SCRIPT)
    monkeypatch.setitem(sys.modules, name, __import__(name))
    monkeypatch.syspath_prepend(str(tmp_path))
    double = _double(name)
    assert double(21) == 42
    assert sys.modules[double.__module__].double is double  # what it defines can be pickled by name


def test_a_script_is_imported_once(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "imported_once.py").write_text(_SCRIPT)
    monkeypatch.setitem(sys.modules, "imported_once", None)  # so that it is taken out again
    del sys.modules["imported_once"]
    monkeypatch.syspath_prepend(str(tmp_path))
    assert _double("imported_once") is _double("imported_once")
