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


class Wish(NamedTuple):
    """``missing`` more containers of ``memory`` MiB each, for one function."""

    function_id: str
    memory: int
    missing: int


class Spare(NamedTuple):
    """A container that idles, that its function does not need now. ``since``: when it ran out of work."""

    container_id: str
    memory: int
    since: float


def fits(node: Node, memory: int) -> bool:
    """Whether the machine has what one more container asks for."""
    return node.containers < node.max_containers and (not node.memory or node.promised + memory <= node.memory)


def starts(node: Node, wishes: list[Wish]) -> list[str]:
    """Which functions get a container now: one each in turn, so that nobody waits behind another's thousand."""
    granted: list[str] = []
    while wishes and node.starting < node.max_starting:
        served = []
        for wish in wishes:
            if node.starting < node.max_starting and fits(node, wish.memory):
                granted.append(wish.function_id)
                node = node._replace(
                    promised=node.promised + wish.memory, containers=node.containers + 1, starting=node.starting + 1
                )
                if wish.missing > 1:
                    served.append(wish._replace(missing=wish.missing - 1))
        wishes = served
    return granted


def evicted(node: Node, memory: int, spares: list[Spare]) -> list[str]:
    """Idle containers to stop early, longest idle first, so that ``memory`` MiB fit. Empty when they never would."""
    gone = []
    for spare in sorted(spares, key=lambda s: s.since):
        if fits(node, memory):
            break
        gone.append(spare.container_id)
        node = node._replace(promised=node.promised - spare.memory, containers=node.containers - 1)
    return gone if fits(node, memory) else []


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
