"""Where a container goes, and whether the machine has room for it.

Processor requests are shares and may be promised more than once; memory may not.
"""

from __future__ import annotations

from typing import NamedTuple

from windlass import exception

DEFAULT_CPU = 0.125
DEFAULT_MEMORY = 128  # MiB


class Node(NamedTuple):
    """What a node has and what was promised. Memory in MiB."""

    name: str
    memory: int
    promised: int
    containers: int
    starting: int
    max_containers: int
    max_starting: int


def room(node: Node, memory: int) -> int:
    """How many more containers that ask for ``memory`` MiB may be started on ``node`` now."""
    by_memory = (node.memory - node.promised) // max(1, memory) if node.memory else 1 << 30
    return max(0, min(by_memory, node.max_containers - node.containers, node.max_starting - node.starting))


def check_request(*, cpu: float, memory: int, cpus: float, node_memory: int) -> None:
    """Refuse what no machine can ever give. ``memory`` in MiB."""
    if cpu > cpus:
        raise exception.InvalidError(
            f"cpu={cpu:g} cores are more than the largest machine has: {cpus:g}", hint="Ask for less with cpu=…"
        )
    if node_memory and memory > node_memory:
        raise exception.InvalidError(
            f"memory={memory:,} MiB is more than the largest machine has: {node_memory:,} MiB",
            hint="Ask for less with memory=…",
        )
