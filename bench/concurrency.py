"""Concurrent and batched functions on one container; adds its rows to ``bench/RESULTS.md``.

    python bench/concurrency.py [--only calls,map,threads,batches] [--write]

The caller is one process: "calls" are its tasks that each await one ``.remote.aio()`` after the other, "map" is one
``.map`` over all inputs. Every input is durable before it is acknowledged, as always.
"""
from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

import windlass

app = windlass.App("bench-concurrency")
IN_FLIGHT = 100
INPUTS = 10_000
RUNS = 5


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=IN_FLIGHT)
async def echo(x: int) -> int:
    return x


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=IN_FLIGHT)
async def nap(x: int) -> int:
    await asyncio.sleep(0.010)
    return x


@app.function(max_containers=1)
@windlass.concurrent(max_inputs=IN_FLIGHT)
def thread_nap(x: int) -> int:
    time.sleep(0.010)
    return x


@app.function(max_containers=1)
@windlass.batched(max_batch_size=100, wait_ms=50)
def doubled(x: list[int]) -> list[int]:
    return [2 * one for one in x]


def rates(what: str, run: Callable[[], object], count: int) -> tuple[str, str]:
    run()
    found = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        found.append(count / (time.perf_counter() - began))
    runs = ", ".join(f"{rate:,.0f}" for rate in found)
    return what, f"{statistics.median(found):,.0f}/s (runs: {runs})"


def calls_of(function: windlass.Function, count: int) -> Callable[[], object]:
    """``count`` calls with a hundred in flight, by as many tasks of one process."""

    async def caller(mine: range) -> None:
        for x in mine:
            assert await function.remote.aio(x) == x

    async def all_of_them() -> None:
        await asyncio.gather(*(caller(range(n, count, IN_FLIGHT)) for n in range(IN_FLIGHT)))

    return lambda: asyncio.run(all_of_them())


def bench_calls() -> list[tuple[str, str]]:
    what = f"`.remote()` of a concurrent async {{}}, {IN_FLIGHT} in flight on one container, one caller process"
    return [
        rates(what.format("no-op"), calls_of(echo, INPUTS), INPUTS),
        rates(what.format("sleep of 10 ms"), calls_of(nap, INPUTS), INPUTS),
    ]


def bench_map() -> list[tuple[str, str]]:
    what = f"`.map` over {INPUTS:,} {{}}, {IN_FLIGHT} in flight on one container"
    return [
        rates(what.format("concurrent async no-ops"), lambda: list(echo.map(range(INPUTS))), INPUTS),
        rates(what.format("concurrent async sleeps of 10 ms"), lambda: list(nap.map(range(INPUTS))), INPUTS),
    ]


def bench_threads() -> list[tuple[str, str]]:
    what = f"`.map` over {INPUTS:,} sleeps of 10 ms in {IN_FLIGHT} threads of one container"
    return [rates(what, lambda: list(thread_nap.map(range(INPUTS))), INPUTS)]


def bench_batches() -> list[tuple[str, str]]:
    what = f"`.map` over {INPUTS:,} inputs in batches of 100, one container"
    return [rates(what, lambda: list(doubled.map(range(INPUTS))), INPUTS)]


SECTIONS = {"calls": bench_calls, "map": bench_map, "threads": bench_threads, "batches": bench_batches}


def main() -> None:
    import main_job  # not in containers, where this file is alone

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated: " + ", ".join(SECTIONS))
    parser.add_argument("--write", action="store_true", help="add the rows to bench/RESULTS.md")
    args = parser.parse_args()
    rows: list[tuple[str, str]] = []
    print(main_job.machine(), flush=True)
    with app.run():
        for name in [name for name in SECTIONS if name in args.only.split(",")]:
            for row in SECTIONS[name]():
                rows.append(row)
                print(f"{row[0]}: {row[1]}", flush=True)
    if args.write:
        with (main_job.HERE / "RESULTS.md").open("a") as file:
            file.write("".join(f"| {name} | {figure} |\n" for name, figure in rows))


if __name__ == "__main__":
    main()
