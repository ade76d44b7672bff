"""Variants of functions: each has a row, a queue, containers and an autoscaler of its own, and is found again.

A variant of a variant is a variant of the base, so that the same set has one pool by whatever way it was asked for.
"""

from __future__ import annotations

import hashlib
import json

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.decide import variants
from windlass.server.state import machines
from windlass.server.store import apps, secrets
from windlass.wire import parameters as values
from windlass.wire.messages import functions

Core = core_module.Core


def find(
    core: Core, function: machines.Function, parameters: str, overrides: functions.FunctionOverrides
) -> machines.Function | Wanted:
    """The function that was meant, or what is needed to ``make`` it.

    Raises ``InvalidError`` for values that do not fit.
    """
    base = function.variant_of or function
    parameters = parameters or function.parameters
    overrides = variants.merged(function.overrides, overrides)
    if parameters:
        values.check(base.spec.get("parameters", []), parameters)
    if not parameters and not overrides:
        return base
    key = variants.key(parameters, overrides, lambda identity: _content(core, identity))
    known = base.variants.get(key)
    return known if known is not None else Wanted(base, key, parameters, overrides)


class Wanted:
    """A variant that does not exist yet."""

    def __init__(
        self, base: machines.Function, key: str, parameters: str, overrides: functions.FunctionOverrides
    ) -> None:
        self.base = base
        self.key = key
        self.parameters = parameters
        self.overrides = overrides
        self.spec = variants.spec(base.spec, overrides)


def make(core: Core, wanted: Wanted) -> machines.Function:
    """Record a variant. Raises ``ResourceExhaustedError`` when its base gets too many too fast."""
    base, limits, now = wanted.base, core.settings, core.clock.now()
    base.budget = variants.spend(
        base.budget or variants.Budget(float(limits.variant_burst), now),
        now,
        rate=limits.variant_rate,
        burst=limits.variant_burst,
        tag=base.tag,
    )
    function = machines.Function(
        n=apps.next_function(core.db),
        identity=ids.new("fu"),
        app=base.app,
        spec=wanted.spec,
        autoscaler=variants.bounds(wanted.spec, is_variant=True),
    )
    function.variant_of, function.variant_key = base, wanted.key
    function.parameters, function.overrides = wanted.parameters, wanted.overrides
    apps.insert_function(core.db, function)
    remember(core, function)
    if function.autoscaler["min_containers"]:
        core.scheduler.set()
    return function


def fits(base: functions.FunctionSpec, parameters: str) -> bool:
    """Whether a pool with these values may go on with a new description of its base."""
    try:
        if parameters:
            values.check(base.get("parameters", []), parameters)
    except exception.InvalidError:
        return False
    return True


def remember(core: Core, function: machines.Function) -> None:
    """Into memory, where it is found by id, by number and by what was asked for."""
    core.world.functions[function.id] = core.world.functions_by_n[function.n] = function
    if function.variant_of is not None:
        function.variant_of.variants[function.variant_key] = function
        function.pin = function.variant_of.pin


def _content(core: Core, identity: str) -> str:
    """Unnamed secrets are made anew by each process: what they hold tells them apart. Their digest needs our key."""
    row = secrets.by_id(core.db, identity)
    if row is None:
        raise exception.NotFoundError(f"no secret {identity}")
    if row.name is not None:
        return identity
    text = json.dumps(core.keyring.decrypt(row.env), sort_keys=True)
    return core.keyring.token("secret " + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
