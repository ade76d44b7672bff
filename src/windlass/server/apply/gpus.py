"""GPUs of the machines: which are lent, and to whom."""

from __future__ import annotations

from windlass.server.apply import core as core_module
from windlass.server.decide import gpus as decisions
from windlass.server.state import machines

Core = core_module.Core


def of(worker: machines.Worker) -> list[decisions.Gpu]:
    """All that the machine has."""
    return [decisions.Gpu(one["gpu_id"], one["kind"]) for one in worker.gpus]


def free(core: Core, worker: machines.Worker) -> list[decisions.Gpu]:
    """Those that nobody holds. A container holds its own until its machine says that it is gone."""
    if not worker.gpus:
        return []
    lent = {gpu for c in core.world.containers.values() if c.node == worker.node for gpu in c.gpus}
    return [gpu for gpu in of(worker) if gpu.id not in lent]
