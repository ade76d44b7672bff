"""The policies that are compared: the server's own with other parameters, and two that the server does not have.

Each asks ``decide.scale``; the last two, on top of what was chosen, change the sample or the window on the way, which
is all that they would do in the server, too.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from windlass.server.decide import scale

if TYPE_CHECKING:
    from simulation import platform


BEFORE = scale.Policy(0.0, 0.5, 0.5)


class Rate:
    """Arrivals per second over the last ten seconds, and over the ten before."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def seen(self, now: float) -> None:
        self._times.append(now)

    def now_and_before(self, now: float) -> tuple[float, float]:
        while self._times and now - self._times[0] > 20:
            self._times.popleft()
        late = sum(now - at <= 10 for at in self._times)
        return late / 10, (len(self._times) - late) / 10


class Policy:
    """The server's, with parameters."""

    def __init__(self, name: str, parameters: scale.Policy = scale.POLICY) -> None:
        self.name, self.parameters = name, parameters
        self.differs = parameters in (BEFORE, scale.POLICY) or type(self) is not Policy

    def needed(self, function: platform.Function, now: float) -> int:
        return scale.needed(self.sample(function, now), self.parameters)

    def sample(self, function: platform.Function, now: float) -> scale.Sample:
        busy = [c for c in function.containers.values() if c.running is not None]
        elapsed = sum((now - (c.running or now)) / (1 + len(c.held)) for c in busy) / max(1, len(busy))
        spec = function.spec
        return scale.Sample(
            queued=function.queued, busy=function.running, seconds=function.seconds, elapsed=elapsed,
            active=now - function.last_active < spec.window, minimum=spec.minimum, maximum=spec.maximum,
            buffer=spec.buffer, startup=function.startup,
        )  # fmt: skip

    def surplus(
        self, function: platform.Function, counted: list[platform.Container], wanted: int, now: float
    ) -> list[str]:
        idle = [scale.Idle(c.id, c.idle_since) for c in counted if c.ready and c.running is None]
        window = self.window(function, len(counted))
        return scale.surplus(idle, existing=len(counted), wanted=wanted, window=window, now=now)

    def window(self, function: platform.Function, existing: int) -> float:
        return function.spec.window


class Eager(Policy):
    """A container for each input."""

    def needed(self, function: platform.Function, now: float) -> int:
        return scale.needed(self.sample(function, now)._replace(seconds=None), self.parameters)


class Predicting(Policy):
    """Keeps ready what the arrivals of the last seconds, continued as they grow, need by Little's law."""

    def needed(self, function: platform.Function, now: float) -> int:
        sample = self.sample(function, now)
        late, early = function.rate.now_and_before(now)
        ahead = math.ceil(max(late, 2 * late - early) * (function.seconds or 0.0) * 1.2)
        return max(scale.needed(sample, self.parameters), min(ahead, sample.maximum or ahead))


class Shedding(Policy):
    """All but the last idle containers go after a quarter of the window."""

    def window(self, function: platform.Function, existing: int) -> float:
        return function.spec.window / 4 if existing > 1 else function.spec.window


def everything() -> list[Policy]:
    fixed = [Policy(f"fixed {seconds:g} s", scale.Policy(0.0, seconds, seconds)) for seconds in (0.5, 0.1, 2.0)]
    relative = [
        Policy(f"{starts:g} starts, at least {least:g} s", scale.Policy(starts, least, 10.0))
        for starts, least in ((2.0, 0.1), (1.0, 0.1), (0.5, 0.1))
    ]
    return [
        *fixed,
        Eager("one each"),
        *relative,
        Policy(f"**{scale.POLICY.starts:g} starts, at least {scale.POLICY.least:g} s** (chosen)"),
        Predicting("chosen, predicting"),
        Shedding("chosen, shedding"),
    ]
