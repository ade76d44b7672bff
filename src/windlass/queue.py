"""``Queue``: a line of values that functions and programs share."""
from __future__ import annotations

from windlass.client import collection

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


class Queue(collection.Collection):
    """."""

    _prefix = "qu"
    _kind = "queue"
