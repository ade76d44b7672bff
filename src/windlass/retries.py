"""When and how often a failed input is tried again."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import functions


MOST = 1_000_000


class Retries:
    """A retry policy: delays grow from ``initial_delay`` by ``backoff_coefficient`` up to ``max_delay``.

    Args:
        max_retries: how often an input is tried again after its first failure, 0 to 1,000,000.
        backoff_coefficient: factor between two delays, 1 to 10; 1 keeps the delay fixed.
        initial_delay: seconds before the first retry, 0 to 60 (at least one second passes in any case).
        max_delay: seconds that no delay exceeds, 1 to 60.

    Example:
        >>> @app.function(retries=windlass.Retries(max_retries=3, initial_delay=2.0))
        ... def flaky(): ...

    Raises:
        InvalidError: a value is outside of its range.
    """

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries <= MOST:
            raise exception.InvalidError(f"max_retries must be an integer from 0 to {MOST:,}, not {max_retries!r}")
        _check("backoff_coefficient", backoff_coefficient, 1.0, 10.0)
        _check("initial_delay", initial_delay, 0.0, 60.0)
        _check("max_delay", max_delay, 1.0, 60.0)
        self.max_retries = max_retries
        self.backoff_coefficient = float(backoff_coefficient)
        self.initial_delay = float(initial_delay)
        self.max_delay = float(max_delay)

    def _spec(self) -> functions.RetrySpec:
        return {
            "max_retries": self.max_retries,
            "backoff_coefficient": self.backoff_coefficient,
            "initial_delay": self.initial_delay,
            "max_delay": self.max_delay,
        }

    def __repr__(self) -> str:
        return (
            f"Retries(max_retries={self.max_retries}, backoff_coefficient={self.backoff_coefficient}, "
            f"initial_delay={self.initial_delay}, max_delay={self.max_delay})"
        )


def _check(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise exception.InvalidError(f"{name} must be between {low:g} and {high:g}, not {value!r}")
