"""What becomes of an input when an attempt ends, and how many inputs a container may hold at once."""

from __future__ import annotations

import math

from windlass.wire.messages import calls, containers, functions

SHORT = 0.005
"""Below this many seconds an input is short: its container may hold several."""
BATCH_SECONDS = 0.010
BATCH_MAX = 64
_MOST_SHORT = 300  # characters of an exception in one line of the log


def capacity(seconds: float | None, *, single_use: bool) -> int:
    """Leases that one container may hold, given how long an input lately ran."""
    if single_use or seconds is None or seconds >= SHORT:
        return 1
    return min(BATCH_MAX, max(1, int(BATCH_SECONDS / max(seconds, 1e-6))))


def share(queued: int, free: int, seconds: float | None) -> int:
    """How many inputs one of ``free`` containers should take: an even share, but not slivers of a millisecond."""
    even = math.ceil(queued / max(1, free))
    if seconds is None or seconds >= SHORT:
        return even
    return max(even, min(queued, int(0.002 / max(seconds, 1e-6))))


def smooth(old: float | None, new: float) -> float:
    """The running estimate of how long an input runs.

    A geometric mean: one no-op that had to wait for a processor took a thousand times longer, and means nothing.
    """
    new = max(new, 1e-6)
    return new if old is None else old * (new / old) ** 0.2


def retry_delay(policy: functions.RetrySpec | None, retries: int) -> float | None:
    """Seconds before the next try after ``retries`` of them, or None when the failure is final."""
    if policy is None or retries >= policy["max_retries"]:
        return None
    delay = policy["initial_delay"] * policy["backoff_coefficient"] ** min(retries, 64)
    return min(max(delay, 1.0), max(policy["max_delay"], 1.0))


def start_backoff(failures: int, *, web: bool = False) -> float:
    """Seconds before a deployed function's next container after so many consecutive start failures. Where somebody
    may wait for the answer of a web function, they are few."""
    return min(15.0 if web else 300.0, 2.0 ** min(failures - 1, 16)) if failures else 0.0


CRASHES = frozenset({"exited", "signal", "oom"})
"""Reasons that count against an input's crash budget."""


def exit_story(exit: containers.ContainerExit) -> str:
    """One line for people on why a container ended."""
    reason = exit.get("reason", "lost")
    if reason == "oom":
        peak, limit = exit.get("memory_peak", 0), exit.get("memory_limit", 0)
        return f"out of memory: used {_mib(peak)} of {_mib(limit)}"
    if reason == "exited":
        return f"the process exited with code {exit.get('exit_code', 0)}"
    if reason == "signal":
        return f"the process was killed by signal {exit.get('signal', 0)}"
    if reason == "start_failed":
        return f"the container could not be started: {exit.get('message', '')}"
    if reason == "stopped":
        return "the container was stopped"
    return exit.get("message") or "the container was lost"


def failure_story(tag: str, failure: calls.Failure, *, retry: int, most: int, delay: float | None) -> str:
    """What the log says of a failed attempt of the function ``tag``; ``delay``: seconds before the next one."""
    if delay is not None:
        return f"{tag}: {_short(failure)}; retry {retry} of {most} in {delay:g} s"
    return f"{tag} failed:\n{(failure.get('traceback') or _short(failure)).rstrip()}"


def _short(failure: calls.Failure) -> str:
    text = failure.get("reason") or failure.get("repr") or "the attempt failed"
    return text if len(text) <= _MOST_SHORT else text[: _MOST_SHORT - 1] + "…"


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MiB" if size else "unknown memory"
