"""``breakpoint()`` in a container: the user's terminal, then pdb where it was called. Imported when it is called."""
from __future__ import annotations

import os
import pdb
import sys
import types
from typing import Any

from windlass import execution

_OURS = ("windlass", "windlass.*", "__windlass_boot__")


def stop(frame: types.FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Like ``sys.__breakpointhook__``, for the ``frame`` that called ``breakpoint()``."""
    wanted = os.environ.get("PYTHONBREAKPOINT", "")
    if wanted == "0":
        return None
    if not execution.is_local():  # a child process has no terminal of its own to attach
        execution.interact()
    if wanted:
        return sys.__breakpointhook__(*args, **kwargs)
    # The last thing to do here: from now on each new call would stop. Our own frames are never shown.
    pdb.Pdb(skip=_OURS).set_trace(frame)
    return None
