"""Plain data that methods return."""
from __future__ import annotations

from windlass.about import AppInfo, AppLifecycle, FunctionInfo, FunctionStats
from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry

__all__ = ["AppInfo", "AppLifecycle", "FunctionInfo", "FunctionStats", "InputInfo", "InputStatus", "LogEntry"]
