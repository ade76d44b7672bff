"""The program inside a container: imports the user's code, runs inputs, sends results.

    boot ─► prepare (user's module, no thread, no connection) ─► service (main thread: user's code)
                                                                   │ ▲
                                                 attendant (2nd thread: the connection while user's code runs long)

``service`` runs one input after the other. Where inputs are gathered, ``batching`` runs one batch after the other.
Where a container takes several at once, ``crowd`` runs them as ``tasks`` or in ``threads``, and the ``keeper`` reads.

Belongs here: running user code and everything its edge needs (interrupts, failures, attributed output). Does not belong
here: what is scheduled where (server) or how the container came to be (worker). Imports only the standard library, and
as little of it as possible: each millisecond here is one of every cold start. So no asyncio unless the user's function
is async, ``_socket`` instead of ``socket``, ``_thread`` locks, and annotations that cost nothing.
"""
from __future__ import annotations


def __getattr__(name: str) -> object:
    """Programs know ``run_app`` and ``deploy_app`` by this module's name."""
    if name in ("run_app", "deploy_app"):
        from windlass.client import launch

        return getattr(launch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
