"""How fast containers are placed on a thousand nodes, and what spreading them is worth against packing."""

from __future__ import annotations

import random
import time

from simulation import loads
from windlass.server.decide import place


def nodes(count: int, dice: random.Random) -> list[place.Node]:
    """Machines of several sizes, about half full, some containers starting."""
    made = []
    for i in range(count):
        memory = dice.choice((8, 24, 64, 256)) * 1024
        containers = dice.randrange(100)
        promised = min(memory, containers * dice.choice((128, 256, 512)))
        made.append(place.Node(f"n{i}", memory, promised, containers, dice.randrange(4), 200, 24))
    return made


def wishes(functions: int, each: int, dice: random.Random) -> list[place.Wish]:
    sizes = (128, 128, 128, 512, 2048, 8192)
    return [
        place.Wish(f"f{i}", dice.choice(sizes), 1 + dice.randrange(2 * each), dice.randrange(20), f"a{i % 100}")
        for i in range(functions)
    ]


def _rate(functions: int, each: int) -> tuple[int, float]:
    dice = random.Random(1)
    machines, wanted = nodes(1000, dice), wishes(functions, each, dice)
    began = time.process_time()
    placement = place.assign(machines, wanted)
    return len(placement.grants), len(placement.grants) / (time.process_time() - began)


def _packed(machines: list[place.Node], wanted: list[place.Wish]) -> list[place.Node]:
    """The alternative, which the server does not have: the fullest node that has room."""
    machines = list(machines)
    for wish in wanted:
        fitting = [i for i, n in enumerate(machines) if n.starting < n.max_starting and place.fits(n, wish.memory)]
        at = max(fitting, key=lambda i: (machines[i].promised, -i))
        machines[at] = _with(machines[at], wish.memory)
    return machines


def _spread(machines: list[place.Node], wanted: list[place.Wish]) -> list[place.Node]:
    made = {node.name: node for node in machines}
    memory = {wish.function_id: wish.memory for wish in wanted}
    for grant in place.assign(machines, wanted).grants:
        made[grant.node] = _with(made[grant.node], memory[grant.function_id])
    return list(made.values())


def _with(node: place.Node, memory: int) -> place.Node:
    return node._replace(
        promised=node.promised + memory, containers=node.containers + 1, starting=node.starting + 1
    )


def _choice() -> list[str]:
    """20 nodes of 2 processors and 24 GiB: how long a burst's starts take on average, what still fits after many."""
    lines = ["", "| 20 nodes | spread (chosen) | packed |", "|---|---|---|"]
    for count in (10, 40, 100):
        cells = []
        for way in (_spread, _packed):
            after = way([place.Node(f"n{i}", 24576, 0, 0, 0, 200, 6) for i in range(20)], _small(count))
            took = sum(n.starting * loads.COLD * max(1.0, n.starting / 2) for n in after) / count
            cells.append(f"{took * 1e3:.0f} ms")
        lines.append(f"| mean start in a burst of {count} | {' | '.join(cells)} |")
    for count in (300, 600):
        cells = []
        for way in (_spread, _packed):
            after = way([place.Node(f"n{i}", 24576, 0, 0, 0, 200, 1000) for i in range(20)], _small(count))
            cells.append(f"{sum((n.memory - n.promised) // 16384 for n in after)}")
        lines.append(f"| containers of 16 GiB that fit after {count} of 512 MiB | {' | '.join(cells)} |")
    return lines


def _small(count: int) -> list[place.Wish]:
    return [place.Wish(f"f{i}", 512, 1) for i in range(count)]


def report() -> str:
    lines = [
        "**Placement on 1,000 nodes**\n",
        "| one look | containers placed | decisions per second of one processor |",
        "|---|---|---|",
    ]
    for what, functions, each in (("1,000 functions", 1000, 8), ("100 functions", 100, 5), ("1 function", 1, 8)):
        count, rate = max((_rate(functions, each) for _ in range(3)), key=lambda pair: pair[1])
        lines.append(f"| {what} | {count:,} | {rate:,.0f} |")
    return "\n".join(lines + _choice())
