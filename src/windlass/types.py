"""Plain data that methods return."""
from __future__ import annotations

from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry
from windlass.dict import DictInfo
from windlass.function import FunctionStats
from windlass.queue import QueueInfo
from windlass.secret import SecretInfo

__all__ = ["DictInfo", "FunctionStats", "InputInfo", "InputStatus", "LogEntry", "QueueInfo", "SecretInfo"]
