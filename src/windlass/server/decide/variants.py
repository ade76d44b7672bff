"""What a variant of a function is: the base's description with other options, its bounds, and what tells it apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from windlass import exception
from windlass.wire.messages import functions

_PLAIN = (
    "cpu_request", "cpu_limit", "memory_request", "memory_limit", "timeout", "retries", "concurrency", "batching",
    "volumes", "buckets", "gpus",
)  # fmt: skip
_SCALING = ("max_containers", "buffer_containers", "scaledown_window")


def merged(old: functions.FunctionOverrides, new: functions.FunctionOverrides) -> functions.FunctionOverrides:
    """Overrides on top of overrides, field by field; ``secrets`` replace all, also those added before."""
    both: Any = {**old, **new}
    if "secrets" not in new and "more_secrets" in new:
        both["more_secrets"] = [*old.get("more_secrets", []), *new["more_secrets"]]
    elif "secrets" in new and "more_secrets" not in new:
        both.pop("more_secrets", None)
    result: functions.FunctionOverrides = both
    return result


def spec(base: functions.FunctionSpec, overrides: functions.FunctionOverrides) -> functions.FunctionSpec:
    """The description of a variant."""
    changed: Any = {**base, **{name: overrides[name] for name in _PLAIN if name in overrides}}  # type: ignore[literal-required]
    changed["secrets"] = [*overrides.get("secrets", base["secrets"]), *overrides.get("more_secrets", [])]
    bounds = base["autoscaler"]
    scaling = {name: overrides[name] for name in _SCALING if name in overrides}  # type: ignore[literal-required]
    # A warm pool of an option set that nobody asks for again would stand there for ever.
    least = 0 if overrides else bounds["min_containers"]
    if "max_containers" in overrides:
        least = min(least, overrides["max_containers"])
    changed["autoscaler"] = {**bounds, **scaling, "min_containers": least}
    result: functions.FunctionSpec = changed
    return result


def bounds(spec: functions.FunctionSpec, *, is_variant: bool) -> functions.AutoscalerSpec:
    """The autoscaler that a function begins with. Nobody calls a class without the parameters that it has."""
    if spec.get("parameters") and not is_variant:
        return {**spec["autoscaler"], "min_containers": 0}
    return spec["autoscaler"]


def key(parameters: str, overrides: functions.FunctionOverrides, secret: Callable[[str], str]) -> str:
    """A digest of what was asked for. ``secret`` says what an id of a secret stands for: equal contents are equal."""
    document: dict[str, Any] = dict(overrides)
    for name in ("secrets", "more_secrets"):
        if name in document:
            document[name] = [secret(identity) for identity in document[name]]
    if "buckets" in document:
        document["buckets"] = [
            {**one, "secret": secret(one["secret"]) if one["secret"] else ""} for one in document["buckets"]
        ]
    text = json.dumps([parameters, document], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Budget(NamedTuple):
    """How many variants may still be made now, as of ``at``."""

    left: float
    at: float


def spend(budget: Budget, now: float, *, rate: float, burst: int, tag: str) -> Budget:
    """One more variant. Raises ``ResourceExhaustedError`` when too many were made too fast."""
    left = min(float(burst), budget.left + max(0.0, now - budget.at) * rate)
    if left < 1.0:
        raise exception.ResourceExhaustedError(
            f"{tag} gets new sets of parameters and options too fast: {burst:,} at once, then {rate:g} a second",
            hint="Let each set serve many inputs; what changes with each call is better an argument of the method.",
        )
    return Budget(left - 1.0, now)
