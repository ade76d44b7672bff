"""cloudpickle under a name of our own, because pickles name the module that reads them.

The user's image may pin any cloudpickle, or none: an old one neither reads what a new one wrote nor knows a new Python.
So values are written and read by ``windlass.wire.pickling.cloudpickle``: in a container a file beside this one, staged
with the library; elsewhere the module of the installed package, loaded once more under this name. What the user imports
as ``cloudpickle`` is never touched.
"""
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULE = "cloudpickle.py"


def _places() -> list[str]:
    here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs 3 ms
    if os.path.exists(os.path.join(here, MODULE)):  # noqa: PTH110, PTH118
        return [here]
    import importlib.util

    found = importlib.util.find_spec("cloudpickle")
    return [here, *(found.submodule_search_locations or ())] if found is not None else [here]


__path__ = _places()


def library() -> Any:
    """cloudpickle, imported on first need because it costs 40 ms.

    Modules that the user has told their own cloudpickle to pickle by value are pickled by value here, too.
    """
    import importlib

    ours = importlib.import_module(f"{__name__}.cloudpickle")
    by_value = getattr(sys.modules.get("cloudpickle.cloudpickle"), "_PICKLE_BY_VALUE_MODULES", None)
    if isinstance(by_value, set):
        ours._PICKLE_BY_VALUE_MODULES = by_value  # type: ignore[attr-defined]
    return ours
