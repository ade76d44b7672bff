"""``Function`` and ``FunctionCall`` under the name that programs know this module by."""
from __future__ import annotations

from windlass.function import Function, FunctionStats
from windlass.function_call import FunctionCall

gather = FunctionCall.gather

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]
