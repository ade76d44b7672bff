"""Runs one Python function as a step of an image (``Image.run_function``), and ends.

    python3 build_step.py FOLDER    step.json says what to run; the pickles beside it hold function and arguments

Started as a script, like ``boot``. There is no platform to talk to: only output, and an exit code.
"""
from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def main(folder: str) -> int:
    library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    sys.path.insert(0, library)
    from windlass.runner import boot

    if os.getpid() == 1:
        boot.leave_process_1()
    boot.forget_script()
    from windlass.client import here
    from windlass.runner import failure, renaming

    sys.path.remove(library)
    boot.put_user_first(in_container=True)
    sys.path.append(library)
    boot.hand_down(library)
    here.building, here.pid = True, os.getpid()
    renaming.install()
    sys.dont_write_bytecode = True  # nothing beside sources that are not of the image
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        function, args, kwargs = _load(folder)
        _run(function, args, kwargs)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - the edge of user code
        failure.show(failure.of(exc)[0])
        return 1
    return 0


def _load(folder: str) -> tuple[Callable[..., Any], Any, Any]:
    from windlass import compat
    from windlass.runner import prepare
    from windlass.wire import payload

    compat.install()
    step = json.loads(_read(folder, "step.json"))
    spec = {**step, "tag": step["qualname"], "serialized": "function"}
    function = prepare.function(spec, lambda name: _read(folder, name))  # type: ignore[arg-type]
    if not step["arguments"]:
        return function, (), {}
    args, kwargs = payload.loads(_read(folder, "arguments"), f"arguments of {step['qualname']!r}")
    return function, args, kwargs


def _read(folder: str, name: str) -> bytes:
    with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
        return file.read()


def _run(function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    result = function(*args, **kwargs)
    if hasattr(result, "__await__"):
        import asyncio

        asyncio.run(_awaited(result))


async def _awaited(awaitable: Any) -> None:
    await awaitable


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
