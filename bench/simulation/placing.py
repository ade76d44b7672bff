"""How fast containers are placed on a thousand nodes, and what spreading them is worth against packing."""

from __future__ import annotations

import random
import time

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
    began = time.perf_counter()
    placement = place.assign(machines, wanted)
    return len(placement.grants), len(placement.grants) / (time.perf_counter() - began)


def report() -> str:
    lines = ["**Placement on 1,000 nodes**\n", "| one look | containers placed | decisions/s |", "|---|---|---|"]
    for what, functions, each in (("1,000 functions", 1000, 8), ("100 functions", 100, 5), ("1 function", 1, 8)):
        count, rate = max((_rate(functions, each) for _ in range(3)), key=lambda pair: pair[1])
        lines.append(f"| {what} | {count:,} | {rate:,.0f} |")
    return "\n".join(lines)
