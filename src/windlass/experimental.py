"""Functions for code inside containers, whose names may still change.

>>> import windlass
>>> from windlass import experimental
>>> app = windlass.App("leaky")
>>> @app.function()
... def convert(path: str) -> int:
...     size = len(path)
...     if size > 100:
...         experimental.stop_fetching_inputs()
...     return size
"""
from __future__ import annotations

from windlass import exception
from windlass.client import here


def stop_fetching_inputs() -> None:
    """Take no more inputs in this container: what runs is finished, exit hooks run, the container ends.

    For code that knows that its process should not go on: a leak, a broken device, memory in pieces. Other
    containers, new ones if need be, take what waits.

    Raises:
        InvalidError: called outside of a container, or before it takes inputs.
    """
    if here.stop_fetching is None:
        raise exception.InvalidError(
            "stop_fetching_inputs() works only while a container runs an input", hint="Call it from a function."
        )
    here.stop_fetching()
