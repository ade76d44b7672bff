"""Where the running code is: locally or in a container, and for which input."""
from __future__ import annotations

import os

from windlass import exception
from windlass.client import here


def is_local() -> bool:
    """False in the process that runs a function in a container, True everywhere else."""
    return here.plan is None or (here.pid is not None and here.pid != os.getpid())


def current_input_id() -> str | None:
    """The id of the input that this code runs for, or None outside of one."""
    return here.input_id.get()


def current_function_call_id() -> str | None:
    """The id of the call that the current input belongs to, or None outside of one."""
    return here.call_id.get()


def interact() -> None:
    """Attach the user's terminal to this container.

    Raises:
        InvalidError: not in a container.
        UnimplementedError: this platform cannot do it yet.
    """
    if is_local():
        raise exception.InvalidError("interact() works only in a container of an app that runs interactively")
    raise exception.UnimplementedError(
        "interact() is not supported yet", hint="`windlass container exec --pty` opens a shell."
    )
