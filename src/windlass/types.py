"""Plain data that methods return."""
from __future__ import annotations

from windlass.about import AppInfo, AppLifecycle, FunctionInfo, FunctionStats
from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry
from windlass.dict import DictInfo
from windlass.queue import QueueInfo
from windlass.secret import SecretInfo

__all__ = [
    "AppInfo", "AppLifecycle", "DictInfo", "FunctionInfo", "FunctionStats", "InputInfo", "InputStatus", "LogEntry",
    "QueueInfo", "SecretInfo",
]  # fmt: skip
