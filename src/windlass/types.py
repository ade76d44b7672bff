"""Plain data that methods return."""
from __future__ import annotations

from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry
from windlass.function import FunctionStats

__all__ = ["FunctionStats", "InputInfo", "InputStatus", "LogEntry"]
