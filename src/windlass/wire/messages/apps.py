"""Apps and the log entries of their containers."""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.functions import FunctionInfo


class AppCreate(TypedDict, total=False):
    """``state``: "ephemeral", "detached" or "deployed". ``app_id`` is chosen by the client: repeating is harmless.

    A deployed app needs a name. Where one of that name lives already it is the answer, under its own id.
    """

    app_id: str
    name: str | None
    description: str
    state: str
    environment: str
    tags: dict[str, str]
    dev_suffix: str


class AppRef(TypedDict):
    app_id: str


class AppPublish(TypedDict):
    """All functions of the app by tag; from now on its containers may start."""

    app_id: str
    functions: dict[str, str]


class AppStop(TypedDict, total=False):
    """``reason``: "done", "interrupted", "error", "stopped" (by a command)."""

    app_id: str
    reason: str
    message: str


class AppLookup(TypedDict, total=False):
    """By name or by id. Finds deployed apps, and with ``any_state`` running and stopped ones too."""

    app: str
    environment: str
    any_state: bool


class AppInfo(TypedDict):
    """``state``: initializing, ephemeral, "ephemeral (detached)", deployed, stopping, stopped.

    Times are seconds since the epoch; ``stopped_at`` is None while it lives. ``containers``: running now.
    ``version``: of a deployed app, 0 for others. ``parts``: what handles need to know of its functions, by tag;
    empty in lists.
    """

    app_id: str
    name: str | None
    description: str
    state: str
    containers: int
    created_at: float
    stopped_at: float | None
    functions: dict[str, str]
    environment: str
    version: int
    tags: dict[str, str]
    parts: dict[str, FunctionInfo]


class AppList(TypedDict, total=False):
    limit: int
    environment: str


class AppListReply(TypedDict):
    apps: list[AppInfo]


class LogQuery(TypedDict, total=False):
    """Which log entries of an app to stream; the app may be named by one of its containers, functions or calls instead.

    ``follow``: stay until the app has stopped and its last entry is out. ``tail``: only the last n before
    following. ``since``/``until``: seconds since the epoch. ``after``: go on behind this position, which an answer had.
    The others filter.
    """

    app_id: str
    container_id: str
    function_id: str
    call_id: str
    source: str
    search: str
    since: float
    until: float
    after: int
    tail: int
    follow: bool


class LogEntry(TypedDict):
    """One piece of output. ``text`` keeps its newline; a piece without one is a partial line.

    ``source``: "stdout", "stderr" or "system".
    """

    time: float
    source: str
    text: str
    app_id: str
    function_id: str
    container_id: str
    call_id: str | None
    input_id: str | None


class LogBatch(TypedDict, total=False):
    """``position``: behind these entries; who asks for what is ``after`` it misses none and sees none twice."""

    entries: list[LogEntry]
    position: int
