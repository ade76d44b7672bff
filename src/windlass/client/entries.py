"""``LogEntry``, apart from what fetches them: it is a public type, and containers import public types."""
from __future__ import annotations

import dataclasses

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime


@dataclasses.dataclass(frozen=True)
class LogEntry:
    """One piece of output; ``message`` keeps its newline, and is a part of a line where there is none yet.

    ``source``: "stdout", "stderr", or "system" for what the platform says. ``object_id``: the container.
    ``context_ids``: what it belongs to, by kind: "app", "function", "function_call" and "input" where there is one.
    """

    message: str
    timestamp: datetime.datetime
    source: str
    object_id: str
    context_ids: dict[str, str]
