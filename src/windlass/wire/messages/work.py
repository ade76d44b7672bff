"""What runner and server say to each other: leases, outputs, the end.

A connection of role "runner" says hello, imports the user's code, then sends ``runner.ready``. From then on
the server sends the notices ``runner.lease``, ``runner.cancel`` and ``runner.stop``, and the runner sends
requests. After a reconnect the runner says ``runner.ready`` again with what it still holds.
"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.calls import Failure
from windlass.wire.messages.common import Payload


class Held(TypedDict):
    """An attempt in the runner's hands. ``attempt`` is the fencing token."""

    input_id: str
    attempt: int


class _RunnerReady(TypedDict):
    """The part of ``RunnerReady`` that is always there."""

    held: list[Held]


class RunnerReady(_RunnerReady, total=False):
    """``phases``: seconds that the start took, "import" of the user's code and its "enter" hooks. ``slots`` as in
    ``RunnerSlots``, where the user's code has set them."""

    phases: dict[str, float]
    slots: int


class RunnerReadyReply(TypedDict):
    """``drop``: attempts the runner holds that are no longer its own."""

    drop: list[Held]


class _Lease(TypedDict):
    """The part of ``Lease`` that is always there."""

    input_id: str
    call_id: str
    attempt: int
    retries: int
    payload: Payload


class Lease(_Lease, total=False):
    """One input to run. ``payload`` points into the attachments of the notice, or to a blob.

    ``method``: which one of a class, absent for functions. ``traceparent``: the span of this attempt, where traces are
    exported.
    """

    method: str
    traceparent: str


class RunnerLease(TypedDict):
    leases: list[Lease]


class RunnerCancel(TypedDict):
    """Stop these; answered by outputs with status "terminated" where the server still waits for them."""

    inputs: list[Held]


class RunnerStop(TypedDict, total=False):
    """Finish (``graceful``) or interrupt what runs, run exit hooks, exit. ``grace`` in seconds."""

    graceful: bool
    grace: float
    reason: str


class AttemptOutput(TypedDict, total=False):
    """``status``: success, failure, timeout, terminated, item. For "item": ``item`` and ``value``; the end of
    a generator is "success" with ``items``. ``seconds``: how long the user's code ran. Of inputs that were
    not short also ``cpu``, seconds of processor time with its child processes, and ``peak``, the most bytes of memory
    that the process has had at once."""

    input_id: str
    attempt: int
    status: str
    value: Payload
    failure: Failure
    item: int
    items: int
    seconds: float
    cpu: float
    peak: int


class RunnerOutputs(TypedDict):
    """Answered after the commit. Outputs of attempts that are no longer current are dropped silently.
    The answer to a batch with items is held back while the consumer is more than 1,024 items behind."""

    outputs: list[AttemptOutput]


class _RunnerRelease(TypedDict):
    """The part of ``RunnerRelease`` that is always there."""

    inputs: list[Held]


class RunnerRelease(_RunnerRelease, total=False):
    """Leased but not begun, or interrupted by no fault of theirs: given back without counting as an attempt.

    A runner that takes several inputs gets no more until one that it keeps has ended, also when it gives back none.
    ``leaving``: it takes none at all from now on.
    """

    leaving: bool


class RunnerSlots(TypedDict):
    """The user's code wants so many inputs (with ``batching``: batches) at once in this container, within what the
    function's ``concurrency`` allows."""

    slots: int


class RunnerBeat(TypedDict):
    """Every 15 s: extends the leases of what is held."""

    held: list[Held]


class RunnerFailed(TypedDict):
    """The user's code could not be imported or an ``enter`` hook raised. The container exits afterwards."""

    failure: Failure
