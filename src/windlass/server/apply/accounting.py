"""Accounting: what each app had of the machines. Written by the hour when a container is gone; those that live are
added to what is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import environments
from windlass.server.decide import accounting as decisions
from windlass.server.decide import place
from windlass.server.state import accounting, machines
from windlass.server.store import accounting as rows
from windlass.wire.messages import billing as messages

Core = core_module.Core
_LONGEST = {"hour": 31, "day": 400, "total": 400}  # days
_SPANS = {"hour": 1, "day": 24}
_DAY = 86400.0


def gone(core: Core, container: machines.Container, exit: machines.Exit) -> None:
    """Note what a container had. In the turn that notes its end."""
    rows.add(core.db, list(_parts(container, core.clock.now(), exit.get("cpu_seconds", 0.0))))


def _parts(container: machines.Container, until: float, cpu: float) -> Iterator[accounting.Part]:
    app, spec = container.function.app, container.spec
    whose = accounting.Whose(app.id, app.name or app.description, app.environment)
    life = decisions.Life(
        container.created_at, until, spec["cpu_request"] or place.DEFAULT_CPU,
        spec["memory_request"] or place.DEFAULT_MEMORY, len(container.gpus), cpu,
    )  # fmt: skip
    for hour, held in decisions.parts(life):
        yield accounting.Part(whose, hour, held)


def report(core: Core, query: messages.UsageQuery) -> messages.UsageReport:
    """Raises ``InvalidError`` for ranges that end before they begin or are longer than what is kept."""
    now = core.clock.now()
    until = min(query.get("until", now), now)
    since = max(0.0, query.get("since", until - 30 * _DAY))
    by = query.get("resolution", "day")
    if by not in _LONGEST:
        raise exception.InvalidError(f"usage is summed up by hour, day or total, not {by[:20]!r}")
    if since > until:
        raise exception.InvalidError("the range of usage ends before it begins")
    if until - since > _LONGEST[by] * _DAY + decisions.HOUR:
        raise exception.InvalidError(f"a range of usage by {by} may span {_LONGEST[by]} days at most")
    environment = query.get("environment")
    if environment is not None:
        environment = environments.row(core, environment).name
    first, end = decisions.clipped(since, until)
    span = _SPANS.get(by, 0)
    found = _sums(core, (first, end, span or 2**31), environment, now)
    return {
        "since": first * decisions.HOUR, "until": min(end * decisions.HOUR, now),
        "rows": [_row(*key, *value, span or 0, first) for key, value in sorted(found.items(), key=lambda one: one[0])],
    }  # fmt: skip


Sums = dict[tuple[int, accounting.Whose], tuple[accounting.Held, dict[str, str]]]


def _sums(core: Core, hours: tuple[int, int, int], environment: str | None, now: float) -> Sums:
    first, end, span = hours
    stored = rows.between(core.db, first, end, span=span, environment=environment)
    found: Sums = {(number, whose): (held, tags) for whose, number, held, tags in stored}
    for container in core.world.containers.values():
        for whose, hour, held in _parts(container, now, 0.0):
            if not first <= hour < end or environment not in (None, whose.environment):
                continue
            key = (hour // span, whose)
            before = found.get(key) or (accounting.Held(), rows.tags(core.db, whose.app))
            found[key] = (before[0].plus(held), before[1])
    return found


def _row(
    number: int, whose: accounting.Whose, held: accounting.Held, tags: dict[str, str], span: int, first: int
) -> messages.Usage:
    return {
        "app_id": whose.app, "app": whose.name, "environment": whose.environment, "tags": tags,
        "begin": (number * span if span else first) * decisions.HOUR,
        "cpu_seconds": held.cores, "memory_gib_seconds": held.memory / 1024, "gpu_seconds": held.gpus,
        "used_cpu_seconds": held.cpu, "containers": held.containers,
    }  # fmt: skip


def forget(core: Core, before: float) -> None:
    rows.forget(core.db, int(before // decisions.HOUR))
