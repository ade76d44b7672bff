"""Forgetting old versions of deployed apps, and with them the specs that nothing needs (``decide.versions.outlived``).

Images and secrets of old versions are kept as long as their specs are.
"""

from __future__ import annotations

from windlass.server.apply import apps
from windlass.server.apply import core as core_module
from windlass.server.decide import versions
from windlass.server.state import machines
from windlass.server.store import deployments

Core = core_module.Core


def forget(core: Core) -> None:
    """One look at all deployed apps."""
    for app in core.world.apps.values():
        if app.alive and app.version > core.settings.keep_versions:
            _forget_of(core, app)


def _forget_of(core: Core, app: machines.App) -> None:
    functions = apps.functions_of(core, app)
    old = versions.outlived(
        [versions.Version(*row) for row in deployments.history(core.db, app.n)],
        keep=max(2, core.settings.keep_versions),  # the one before is what a rollback comes back to
        before=core.clock.now() - core.settings.keep_failed,
        used={function.pin for function in functions if function.pin is not None and _works(function)},
    )
    if not old:
        return
    core.turn.begin()
    deployments.delete(core.db, app.n, old)
    for function in functions:
        if function.pin in old:
            function.removed = True
            deployments.set_function(core.db, function)
    deployments.delete_specs(core.db, deployments.spec_keys(core.db, app.n) - _needed(core, app, functions))


def _works(function: machines.Function) -> bool:
    return bool(function.containers or function.open_sync or function.open_spawned)


def _needed(core: Core, app: machines.App, functions: list[machines.Function]) -> set[tuple[int, int]]:
    """Number and generation of each function that a version, or a container, is made of."""
    known = {function.id: function.n for function in functions}
    needed = {(function.n, function.generation) for function in functions if not function.removed}
    needed |= {(one.n, container.generation) for one in functions for container in one.containers.values()}
    for row in deployments.of_app(core.db, app.n):
        needed |= {(known[identity], generation) for identity, generation in row.layout.values() if identity in known}
    return needed
