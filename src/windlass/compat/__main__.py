"""``python -m windlass.compat job.py --epochs 3``: a program of Python's own, in which ``import modal`` is Windlass.

Also ``python -m windlass.compat -m package.module``, such as ``-m pytest tests``.
"""
from __future__ import annotations

import runpy
import sys

from windlass import compat

_USAGE = "usage: python -m windlass.compat FILE [ARGUMENTS]\n       python -m windlass.compat -m MODULE [ARGUMENTS]\n"


def main(words: list[str]) -> None:
    """Run what the words name as ``__main__``, as Python would: with its arguments, and its folder to import from."""
    import os

    is_module = words[:1] == ["-m"]
    words = words[is_module:]
    if not words or words[0].startswith("-"):
        sys.stderr.write(_USAGE)
        raise SystemExit(2)
    compat.install()
    compat.hand_down()
    sys.argv[:] = words
    if is_module:
        sys.path[0] = os.getcwd()  # noqa: PTH109 - as `python -m` does
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif os.path.isfile(words[0]):  # noqa: PTH113
        sys.path[0] = os.path.dirname(os.path.abspath(words[0]))  # noqa: PTH100, PTH120
        runpy.run_path(words[0], run_name="__main__")
    else:
        sys.stderr.write(f"python -m windlass.compat: no such file: {words[0]}\n")
        raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
