"""Which inputs started which: the tree behind a call."""
from __future__ import annotations

import enum
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import calls


class InputStatus(enum.IntEnum):
    """How an input stands."""

    PENDING = 0
    SUCCESS = 1
    FAILURE = 2
    INIT_FAILURE = 3
    TERMINATED = 4
    TIMEOUT = 5


@dataclass
class InputInfo:
    """One input, and the inputs that it started in turn. ``task_id`` is its container."""

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list[InputInfo]


def tree(nodes: list[calls.GraphNode]) -> list[InputInfo]:
    """The roots: inputs whose parent is not among ``nodes``."""
    known = {node["input_id"]: _info(node) for node in nodes}
    roots: list[InputInfo] = []
    for node in nodes:
        parent = known.get(node["parent_input_id"] or "")
        (roots if parent is None else parent.children).append(known[node["input_id"]])
    return roots


def _info(node: calls.GraphNode) -> InputInfo:
    return InputInfo(
        input_id=node["input_id"],
        function_call_id=node["call_id"],
        task_id=node["container_id"] or "",
        status=InputStatus.__members__.get(node["status"].upper(), InputStatus.PENDING),
        function_name=node["function_name"],
        module_name=node["module_name"],
        children=[],
    )
