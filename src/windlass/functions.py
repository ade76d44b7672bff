"""``Function`` and ``FunctionCall`` under the name that programs know this module by."""
from __future__ import annotations

from windlass.function import Function
from windlass.function_call import FunctionCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.about import FunctionStats as FunctionStats

gather = FunctionCall.gather

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]


def __getattr__(name: str) -> object:
    if name == "FunctionStats":  # few programs name it, and what it is made of takes its time to import
        from windlass import about

        return about.FunctionStats
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
