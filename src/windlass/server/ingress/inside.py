"""Having the worker of a sandbox connect one of its ports with the edge."""

from __future__ import annotations

import asyncio

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.state import moves

_PATIENCE = 10.0


async def call(core: core_module.Core, sandbox_id: str, port: int, ticket: str) -> None:
    """Until the worker has done so. Raises ``ConflictError`` where nobody listens, or the sandbox does not run."""
    one = core.world.sandboxes.get(sandbox_id)
    if one is None or one.container is None or one.state != moves.SandboxState.RUNNING:
        raise exception.ConflictError(f"sandbox {sandbox_id} does not run")
    worker = core.world.workers.get(one.container.node)
    if worker is None:
        raise exception.ServiceError(f"the worker of node {one.container.node} is not connected")
    body = {"sandbox_id": one.container.id, "port": port, "ticket": ticket}
    await asyncio.wait_for(worker.peer.request("sandbox.connect", body), _PATIENCE)
