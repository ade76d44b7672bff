"""The node namespace (in progress): signatures for the rest of the worker."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Node(NamedTuple):
    """What ``up`` made.

    ``inside``: the home folder as every user inside the node can reach it (a folder above it may be closed to them): use
    it for what containers mount. ``userns``: file of the user namespace that is mapped like a container's.
    """

    inside: Path
    userns: Path
    pid: int
