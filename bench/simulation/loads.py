"""Loads: which functions there are, and when which input comes and how long it runs. All seeded.

A recorded load is a text file: a line ``function NAME [key=value …]`` for each function, then ``SECONDS NAME DURATION``
for each input. Those in ``traces/`` are invented, in the shape that records have.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from pathlib import Path

COLD = 0.111
"""Median of a cold start on the machine that the figures are from (bench/RESULTS.md), until user code is imported."""


@dataclasses.dataclass
class Function:
    name: str
    app: str = ""
    memory: int = 128
    imports: float = 0.0
    """Seconds that the user's imports and hooks take after the container's own start."""
    minimum: int = 0
    maximum: int = 0
    buffer: int = 0
    window: float = 60.0
    crashes: float = 0.0
    """Part of starts that fail."""
    backlog: int = 0
    """Inputs that are there from the beginning, of ``each`` seconds."""
    each: float = 0.0


@dataclasses.dataclass
class Load:
    name: str
    functions: list[Function]
    arrivals: list[tuple[float, str, float]]
    """(when, function, how long it runs), in order."""
    nodes: int = 1
    until: float = 0.0
    """When to stop looking; 0: when all is done."""
    watch: str = ""
    """The function whose queueing times count; all when empty."""
    cpus: float = 2.0
    memory: int = 24 * 1024
    heavy: bool = False
    """Only the policies that differ most are tried with it."""


def _poisson(dice: random.Random, rate: float, until: float) -> Iterator[float]:
    at = dice.expovariate(rate)
    while at < until:
        yield at
        at += dice.expovariate(rate)


def steady() -> Load:
    dice = random.Random(1)
    arrivals = [(at, "f", dice.expovariate(1 / 0.2)) for at in _poisson(dice, 20, 300)]
    return Load("steady: Poisson 20/s of 0.2 s", [Function("f")], arrivals)


def slow_import() -> Load:
    dice = random.Random(2)
    arrivals = [(at, "f", dice.expovariate(1 / 0.3)) for at in _poisson(dice, 12, 300)]
    return Load("imports take 6 s: Poisson 12/s of 0.3 s", [Function("f", imports=6.0, memory=512)], arrivals)


def bursts() -> Load:
    dice = random.Random(3)
    arrivals = [
        (begin + dice.random() * 0.5, "f", dice.uniform(0.5, 2))
        for begin in range(10, 900, 45)
        for _ in range(dice.choice((5, 20, 80)))
    ]
    return Load("bursts: 5 to 80 inputs of 0.5-2 s each 45 s", [Function("f")], sorted(arrivals))


def short_bursts() -> Load:
    dice = random.Random(4)
    arrivals = [
        (begin + dice.random() * 0.2, "f", 0.02)
        for begin in range(5, 600, 30)
        for _ in range(dice.choice((20, 100, 400)))
    ]
    return Load("short bursts: 20 to 400 inputs of 20 ms each 30 s", [Function("f")], sorted(arrivals))


def diurnal() -> Load:
    dice = random.Random(5)
    arrivals, at = [], 0.0
    while at < 1200:
        rate = 0.5 + 7 * (1 - math.cos(at / 600 * 2 * math.pi)) / 2
        at += dice.expovariate(rate)
        arrivals.append((at, "f", dice.lognormvariate(-1.2, 0.6)))
    return Load("diurnal: 0.5 to 7.5/s in waves of 10 minutes", [Function("f", imports=1.0)], arrivals)


def heavy_tail() -> Load:
    dice = random.Random(6)
    arrivals = [(at, "f", min(600.0, 0.02 * dice.paretovariate(0.9))) for at in _poisson(dice, 15, 300)]
    return Load("heavy tail: Pareto durations, 15/s", [Function("f")], arrivals)


def on_off() -> Load:
    dice = random.Random(7)
    arrivals, at = [], 0.0
    while at < 1800:
        on = at + dice.uniform(5, 40)
        while at < on:
            at += dice.expovariate(5)
            arrivals.append((at, "f", 0.4))
        at += dice.choice((20, 50, 70, 150))
    return Load("on and off: 5/s of 0.4 s, silences of 20 to 150 s", [Function("f", imports=2.0)], arrivals)


def many_functions() -> Load:
    dice = random.Random(8)
    functions = [Function(f"f{i}", app=f"a{i % 200}", imports=dice.choice((0.0, 0.5, 2.0))) for i in range(1000)]
    weights = [1 / (i + 1) ** 1.1 for i in range(1000)]
    chosen = iter(dice.choices(functions, weights, k=2500))
    arrivals = [
        (at, function.name, dice.lognormvariate(-1.5, 1.0))
        for at, function in zip(_poisson(dice, 10, 240), chosen, strict=False)
    ]
    return Load("1,000 functions with Zipf popularity, 10/s, 20 nodes", functions, arrivals, nodes=20, heavy=True)


def beside_a_map() -> Load:
    dice = random.Random(9)
    functions = [Function("map", app="batch", backlog=1_000_000, each=3.0), Function("call", app="site")]
    arrivals = [(at, "call", 0.05) for at in _poisson(dice, 0.25, 120)]
    name = "a map of a million (3 s each) beside a call each 4 s"
    return Load(name, functions, arrivals, until=120, watch="call", heavy=True)


def two_maps() -> Load:
    functions = [
        Function("big", app="one", backlog=1_000_000, each=2.0, memory=256),
        Function("late", app="two", memory=256),
    ]
    arrivals = [(60.0, "late", 2.0)] * 5000
    return Load("a map of 5,000 comes to a full machine", functions, arrivals, until=100, watch="late", heavy=True)


def crash_loop() -> Load:
    dice = random.Random(11)
    functions = [Function("bad", app="bad", crashes=1.0, backlog=1000, each=0.1), Function("good", app="good")]
    arrivals = [(at, "good", 0.2) for at in _poisson(dice, 2, 200)]
    return Load("a crash loop beside 2/s of 0.2 s", functions, arrivals, until=200, watch="good")


def fleet() -> Load:
    dice = random.Random(12)
    functions = [Function(f"f{i}", app=f"a{i % 20}", memory=dice.choice((128, 512, 4096))) for i in range(30)]
    arrivals = sorted(
        (begin + dice.random() * 5, function.name, dice.uniform(5, 20))
        for function in functions
        for begin in dice.sample(range(60), 2)
        for _ in range(dice.choice((1, 10, 60)))
    )
    name = "1,000 nodes: 30 functions, bursts of up to 60 inputs of 5-20 s"
    return Load(name, functions, arrivals, nodes=1000, heavy=True)


def recorded(path: Path) -> Load:
    """A file as described above."""
    functions: list[Function] = []
    arrivals: list[tuple[float, str, float]] = []
    types = {field.name: type(field.default) for field in dataclasses.fields(Function) if field.name != "name"}
    for line in path.read_text().splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "function":
            given = dict(word.split("=") for word in words[2:])
            functions.append(Function(words[1], **{key: types[key](value) for key, value in given.items()}))
        else:
            arrivals.append((float(words[0]), words[1], float(words[2])))
    return Load(f"recorded: {path.stem.replace('_', ' ')}", functions, sorted(arrivals))


TRACES = Path(__file__).parent / "traces"


def everything() -> list[Load]:
    made = [
        steady(), slow_import(), bursts(), short_bursts(), diurnal(), heavy_tail(), on_off(), many_functions(),
        beside_a_map(), two_maps(), crash_loop(), fleet(),
    ]  # fmt: skip
    return made + [recorded(path) for path in sorted(TRACES.glob("*.txt"))]
