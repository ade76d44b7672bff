"""GPUs of the machines: which are lent, and to whom."""

from __future__ import annotations

from windlass.server.apply import core as core_module
from windlass.server.decide import gpus as decisions
from windlass.server.state import machines, moves

Core = core_module.Core


def of(worker: machines.Worker) -> list[decisions.Gpu]:
    """All that the machine has."""
    return [decisions.Gpu(one["gpu_id"], one["kind"]) for one in worker.gpus]


def free(core: Core, worker: machines.Worker) -> list[decisions.Gpu]:
    """Those that nobody holds. A container holds its own until its machine says that it is gone."""
    if not worker.gpus:
        return []
    lent = {gpu for c in core.world.containers.values() if c.node == worker.node for gpu in c.gpus}
    lent |= {gpu for build in core.world.builds.values() if build.node == worker.node for gpu in build.gpus}
    return [gpu for gpu in of(worker) if gpu.id not in lent]


def builds_for(core: Core, worker: machines.Worker) -> list[str]:
    """Ids of the builds that this machine may make. A step that needs GPUs is lent them now, if they are free."""
    _lend(core, worker)
    return [b.id for b in core.world.builds.values() if not b.recipe.get("gpus") or b.node == worker.node]


def lend(core: Core) -> list[str]:
    """Give builds that wait for GPUs those that are free; the machines where one got some."""
    return [node for node, worker in core.world.workers.items() if _lend(core, worker)]


def _lend(core: Core, worker: machines.Worker) -> bool:
    lent = False
    for build in core.world.builds.values():
        if (wanted := build.recipe.get("gpus")) and not build.node:
            devices = decisions.choose(free(core, worker), wanted)
            if devices is not None:
                build.gpus, build.node, lent = devices, worker.node, True
    return lent


def waiting(core: Core) -> list[decisions.Wanted]:
    """What builds and sandboxes wait for."""
    builds = [b.recipe["gpus"] for b in core.world.builds.values() if b.recipe.get("gpus") and not b.node]
    queued = (one for one in core.world.sandboxes.values() if one.state == moves.SandboxState.QUEUED)
    return [*builds, *(one.spec["gpus"] for one in queued if one.spec.get("gpus"))]
