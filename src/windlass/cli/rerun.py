"""The process that runs a recorded input on this machine: ``python -m windlass.cli.rerun FOLDER [--debug] [--step]``.

``FOLDER`` is what ``replay`` laid out. The code is imported as in a container, from the folder's ``files/root``, and a
class gets its parameters and hooks; but nothing else of the container is here.
"""
from __future__ import annotations

import asyncio
import json
import os
import pdb
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from windlass import compat, exception
from windlass.cli import failure
from windlass.runner import prepare, served
from windlass.wire import payload

_OWN = str(Path(__file__).parent.parent) + os.sep


def main(argv: list[str]) -> int:
    """The exit code: 1 when the function raised."""
    folder, flags = Path(argv[0]), argv[1:]
    about = json.loads((folder / "input.json").read_text())
    root = folder / "files" / "root"
    os.chdir(root)
    sys.path[:] = [str(root), *(path for path in sys.path if path not in ("", "/"))]
    sys.argv[:] = [""]
    compat.install()
    compat.hand_down()
    try:
        found = _served(about, folder)
        args, kwargs = payload.loads((folder / "arguments").read_bytes(), "arguments")
        value = _call(found, found.callees[about["method"]], args, kwargs, step="--step" in flags)
    except exception.Error as exc:
        if _inner(exc.__traceback__) is None:  # not the user's: ours about the code or its arguments
            failure.show(exc)
            return 1
        return _failed(exc, debug="--debug" in flags)
    except Exception as exc:  # noqa: BLE001 - the edge of user code
        return _failed(exc, debug="--debug" in flags)
    print(f"It returned {value!r}", file=sys.stderr)
    return 0


def _served(about: Any, folder: Path) -> served.Served:
    plan: Any = {
        "spec": about["spec"], "parameters": about["parameters"], "function_id": "", "app": {"app_id": ""},
    }  # fmt: skip
    found = prepare.served(plan, lambda digest: (folder / "function").read_bytes())
    found.enter(snap=True)
    found.enter(snap=False)
    return found


def _call(found: served.Served, callee: served.Callee, args: Any, kwargs: Any, *, step: bool) -> Any:
    if step and callee.is_async:
        raise exception.InvalidError("--step is for plain functions; this one is async", hint="Use --debug.")
    try:
        if step:
            return pdb.Pdb().runcall(callee.function, *args, **kwargs)
        value = callee.function(*args, **kwargs)
        if callee.is_async or isinstance(value, types.CoroutineType):
            return found.needs_loop().complete(value) if found.loop is not None else asyncio.run(value)
        return value
    finally:
        found.leave()


def _failed(exc: BaseException, *, debug: bool) -> int:
    sys.stdout.flush()
    failure.show_user_traceback(exc)
    if debug:
        sys.stderr.flush()
        pdb.post_mortem(_inner(exc.__traceback__) or exc.__traceback__)
    return 1


def _inner(tb: types.TracebackType | None) -> types.TracebackType | None:
    """The part of a traceback that begins in the user's code."""
    while tb is not None and traceback.extract_tb(tb, 1)[0].filename.startswith((_OWN, "<frozen")):
        tb = tb.tb_next
    return tb


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
