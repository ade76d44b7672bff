"""Where the running code is: locally or in a container, and for which input."""
from __future__ import annotations

import os

from windlass import exception
from windlass.client import here


def is_local() -> bool:
    """False in the process that runs a function in a container or as a build step, True everywhere else."""
    return not here.in_container() or (here.pid is not None and here.pid != os.getpid())


def current_input_id() -> str | None:
    """The id of the input that this code runs for, or None outside of one."""
    return here.input_id.get()


def current_function_call_id() -> str | None:
    """The id of the call that the current input belongs to, or None outside of one."""
    return here.call_id.get()


def current_traceparent() -> str | None:
    """The span of the attempt that this code runs for, as ``traceparent`` has it, where the platform exports traces.

    Example:
        >>> request.add_header("traceparent", windlass.current_traceparent() or "")
    """
    return here.traceparent.get() or None


def interact() -> None:
    """Attach the user's terminal to this container until the current input ends; it has no timeout meanwhile.

    Afterwards ``input()``, ``print()``, debuggers and programs that are started from here use that terminal.
    The app must run with ``windlass run -i`` or ``app.run(interactive=True)``.

    Raises:
        InvalidError: not in a container, or the app does not run interactively.
        InteractiveTimeoutError: another container has the terminal for 60 s.

    Example:
        >>> @app.function()
        ... def ask():
        ...     windlass.interact()
        ...     return input("What shall it be? ")
    """
    if is_local() or here.interact is None:
        raise exception.InvalidError(
            "interact() works only in a function that runs in a container",
            hint="Start the app with `windlass run -i`, and call it inside the function.",
        )
    here.interact()


async def _interact() -> None:
    """In the thread of the user's code, like the blocking form: its loop waits while another container has the
    terminal."""
    interact()


interact.aio = _interact  # type: ignore[attr-defined]
