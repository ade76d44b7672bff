"""What a function that is a build step is known by: its text and what it refers to, nothing else."""

from __future__ import annotations

import functools
import linecache
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.client import fingerprint


def defined(tmp_path: Path, text: str, name: str = "f") -> Any:
    """The function of a module made of ``text``."""
    path = tmp_path / "job.py"
    path.write_text(textwrap.dedent(text))
    linecache.clearcache()
    space: dict[str, Any] = {"__name__": "job", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space[name]


def digest(tmp_path: Path, text: str, *args: Any, **kwargs: Any) -> str:
    return fingerprint.of(defined(tmp_path, text), args, kwargs).digest


BASE = "SIZE = 1\ndef f():\n    return SIZE\n"


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\n\nSIZE = 1\ndef f():\n    return SIZE\n",
        "def g(): ...\nSIZE = 1\nOTHER = 2\ndef f():\n    return SIZE\n",
    ],
)
def test_what_a_function_does_not_refer_to_does_not_count(tmp_path: Path, same: str) -> None:
    assert digest(tmp_path, BASE) == digest(tmp_path, same)


@pytest.mark.parametrize("other", [BASE.replace("1", "2"), BASE.replace("return", "# why\n    return")])
def test_its_text_and_the_values_of_its_globals_count(tmp_path: Path, other: str) -> None:
    assert digest(tmp_path, BASE) != digest(tmp_path, other)


def test_functions_classes_and_modules_count_by_name_also_inside_of_values(tmp_path: Path) -> None:
    text = "import os\nclass C:\n    x = {0}\ndef g(): return {0}\nALL = [g, C, C(), os]\ndef f(): return ALL, g, C\n"
    assert digest(tmp_path, text.format(1)) == digest(tmp_path, "#\n" + text.format(2))


def test_values_inside_of_nested_functions_closures_and_defaults_count(tmp_path: Path) -> None:
    nested = "A = {}\ndef f():\n    def g(): return [A for _ in 'x']\n    return g\n"
    closed = "def make(a):\n    def f(): return a\n    return f\nf = make({})\n"
    default = "D = {}\ndef f(a=D): return a\n"
    for text in (nested, closed, default):
        assert digest(tmp_path, text.format(1)) == digest(tmp_path, text.format(1))
        assert digest(tmp_path, text.format(1)) != digest(tmp_path, text.format(2))


def test_arguments_count_and_a_string_is_no_bytes(tmp_path: Path) -> None:
    seen = [
        digest(tmp_path, BASE, *args, **kwargs)
        for args, kwargs in ([(), {}], [(1,), {}], [("1",), {}], [(b"1",), {}], [(), {"a": 1}], [([1],), {}])
    ]  # fmt: skip
    assert len(set(seen)) == len(seen)
    with pytest.raises(exception.SerializationError, match="'f'"):
        digest(tmp_path, BASE, threading.Lock())


def test_what_cannot_be_pickled_is_left_out_and_named(tmp_path: Path) -> None:
    text = "import threading\nLOCK, SIZE = threading.Lock(), 1\ndef f():\n    return LOCK, SIZE\n"
    found = fingerprint.of(defined(tmp_path, text), (), {})
    assert found.skipped == ["LOCK"]
    assert found.digest != digest(tmp_path, text.replace("1", "2"))


def test_decorated_functions_count_by_what_is_decorated(tmp_path: Path) -> None:
    def decorate(function: Any) -> Any:
        return functools.wraps(function)(lambda: function())

    plain = defined(tmp_path, BASE)
    assert fingerprint.of(decorate(plain), (), {}).digest == fingerprint.of(plain, (), {}).digest


def test_functions_without_a_file_count_by_their_code() -> None:
    def typed(text: str) -> str:
        space: dict[str, Any] = {}
        exec(text, space)
        return fingerprint.of(space["f"], (), {}).digest

    assert typed("def f(): return 1") == typed("\n\ndef f(): return 1") != typed("def f(): return 2")


def test_every_process_finds_the_same_also_for_sets(tmp_path: Path) -> None:
    text = """
        from windlass.client import fingerprint
        WORDS = {"a", "b", "c", "d", "e", frozenset({"x", "y", "z"})}
        class Kept:
            def __init__(self): self.words = {"a", "b", "c", "d"}
        KEPT = Kept()
        def f(): return WORDS, KEPT
        print(fingerprint.of(f, (WORDS,), {"k": KEPT}).digest)
    """
    path = tmp_path / "job.py"
    path.write_text(textwrap.dedent(text))
    seen = {
        subprocess.run([sys.executable, path], capture_output=True, text=True, check=True,
                       env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(seen) == 1
