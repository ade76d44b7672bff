"""Whether more inputs may queue at a function."""

from __future__ import annotations

from windlass import exception


def check_queue(*, queued: int, more: int, limit: int, tag: str) -> None:
    """Refuse ``more`` inputs when they would exceed ``limit``."""
    if queued + more > limit:
        raise exception.ResourceExhaustedError(
            f"{queued:,} inputs wait for function {tag!r}; at most {limit:,} may",
            hint="Wait until some have finished, or let the function have more containers.",
        )
