"""Calls, their inputs and outputs, as the caller sees them.

Input ids are computed, not sent: ``windlass.kit.ids.input_id(call_id, index)``.
"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.common import Payload
from windlass.wire.messages.containers import ContainerExit


class InputItem(TypedDict):
    """``payload`` is the pickled ``(args, kwargs)``."""

    index: int
    payload: Payload


class CallCreate(TypedDict, total=False):
    """Create a call with its first inputs; repeating it changes nothing.

    ``kind``: "remote" and "map" (the caller waits), "spawn" (survives its caller), "gen" (one input that
    yields items). ``closed``: no further inputs follow. ``method``: which one of a class, absent for functions.
    ``traceparent``: the span (W3C) that it belongs to, where the caller has one.
    """

    call_id: str
    function_id: str
    method: str
    kind: str
    parent_input_id: str | None
    traceparent: str
    inputs: list[InputItem]
    closed: bool


class CallPut(TypedDict):
    """More inputs for a call. Repeating an index changes nothing."""

    call_id: str
    inputs: list[InputItem]
    closed: bool


class CallRef(TypedDict):
    call_id: str


class CallCancel(TypedDict, total=False):
    call_id: str
    terminate_containers: bool


class OutputQuery(TypedDict, total=False):
    """Stream the outputs of a call in order of completion, those with ``seq`` greater than ``after``.

    Ends when the call is closed and every input has ended. ``indexes`` restricts to some inputs.
    ``wait`` False: only what is there now. ``items_after``: for generators, how many items the caller has.
    """

    call_id: str
    after: int
    indexes: list[int]
    wait: bool
    items_after: int


class Frame(TypedDict):
    """One line of a remote traceback; ``text`` is the source line or ""."""

    file: str
    line: int
    name: str
    text: str


class Failure(TypedDict, total=False):
    """Why an input failed.

    ``error`` is the pickled exception where it could be pickled; ``kind`` its qualified type name, ``repr``
    its text, ``traceback`` the remote traceback as text and ``frames`` the same as data (user's frames only).
    ``exit`` is there when a container's death was the reason.
    """

    error: Payload
    kind: str
    repr: str
    traceback: str
    frames: list[Frame]
    reason: str
    exit: ContainerExit


class Output(TypedDict, total=False):
    """The end of one input, or one item of a generator.

    ``status``: "success", "failure" (user's exception), "timeout", "terminated" (cancelled),
    "init_failure" (its containers could not start), "crash" (its container died; ``failure.reason`` says
    how), "item" (``item`` numbers a generator's values from 0). For a generator's end ``items`` counts them.
    """

    index: int
    seq: int
    status: str
    value: Payload
    failure: Failure
    item: int
    items: int
    retries: int


class OutputBatch(TypedDict):
    """``done`` with the last batch. ``backlog``, ``running``: of the call, for progress displays."""

    outputs: list[Output]
    done: bool


class CallInfo(TypedDict):
    """``status``: pending, success, failure, terminated, timeout, init_failure (of input 0)."""

    call_id: str
    function_id: str
    num_inputs: int
    num_done: int
    status: str
    created_at: float


class GraphNode(TypedDict):
    """One input in a call graph; ``parent`` is the input that made the call."""

    input_id: str
    call_id: str
    parent_input_id: str | None
    container_id: str | None
    status: str
    function_name: str
    module_name: str


class CallGraph(TypedDict):
    nodes: list[GraphNode]
