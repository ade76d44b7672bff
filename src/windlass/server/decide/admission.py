"""Whether more inputs may come to a function.

The limits are there against loops that run away and callers that never stop, not to pace honest programs: whoever
maps over more waits in the client (``client/map``), and nothing that was accepted is dropped. Inputs of callers that
wait and inputs that were spawned are counted apart, so a million of the one never keeps out a single one of the other.
"""

from __future__ import annotations

from typing import NamedTuple

from windlass import exception

_HINT = "Wait until some have finished, or let the function have more containers."


class Limits(NamedTuple):
    """``waiting``: inputs without a container; ``total``: also those that run, 0 for no limit."""

    waiting: int
    total: int = 0


def check_queue(*, unfinished: int, running: int, more: int, limits: Limits, tag: str) -> None:
    """Refuse ``more`` inputs of a kind when they would exceed its limits. ``unfinished``: those of that kind;
    ``running``: those of all kinds, so that what waits is rather counted too low."""
    waiting = max(0, unfinished - running)
    if waiting + more > limits.waiting:
        raise exception.ResourceExhaustedError(
            f"{waiting:,} inputs wait for function {tag!r} and {more:,} more came; at most {limits.waiting:,} may",
            hint=_HINT,
        )
    if limits.total and unfinished + more > limits.total:
        raise exception.ResourceExhaustedError(
            f"{unfinished:,} inputs of function {tag!r} wait or run; at most {limits.total:,} may", hint=_HINT
        )


def check_map(*, unfinished: int, more: int, limit: int, tag: str) -> None:
    """Refuse ``more`` inputs of one map that has too many on their way."""
    if unfinished + more > limit:
        raise exception.ResourceExhaustedError(
            f"{unfinished:,} inputs of one map over {tag!r} have not ended; at most {limit:,} may be on their way",
            hint="Take results before sending more inputs.",
        )


class Budget(NamedTuple):
    """Calls that may still be made now, as of ``at``."""

    left: float
    at: float


def spend(budget: Budget | None, now: float, *, rate: float, burst: float, tag: str) -> Budget:
    """One more call. Raises ``ResourceExhaustedError`` when they come faster than ``rate`` for longer than ``burst``
    seconds' worth of them."""
    most = rate * burst
    left = most if budget is None else min(most, budget.left + max(0.0, now - budget.at) * rate)
    if left < 1.0:
        raise exception.ResourceExhaustedError(
            f"function {tag!r} is called more than {rate:g} times a second",
            hint="Use .map or .spawn_map for many inputs: they are one call.",
        )
    return Budget(left - 1.0, now)
