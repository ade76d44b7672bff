"""The server's autoscaler and placement under loads that would take days: policies compared, against an oracle.

    python bench/simulate.py                        # everything, about a minute
    python bench/simulate.py --loads burst --policies "1 start"
    python bench/simulate.py --load-file trace.txt  # a recorded one: simulation/loads.py says how it looks

Prints tables in Markdown; the same seed gives the same figures on every machine, but for decisions per second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import sections
from simulation import loads, oracle, placing, platform, policies


def row(name: str, measured: platform.Measured) -> str:
    waits = measured.waits
    return (
        f"| {name} | {measured.starts:,} | {oracle.percentile(waits, 0.5) * 1e3:,.0f} "
        f"| {oracle.percentile(waits, 0.99) * 1e3:,.0f} | {sum(waits) / max(1, len(waits)) * 1e3:,.0f} "
        f"| {measured.container_seconds:,.0f} | {measured.thrash:,} | {measured.unused:,} | {len(waits):,} |"
    )


NOTE = """`python bench/simulate.py --write`: the server's own `decide` functions, a jumping clock, imitated containers.
Waits are from arrival to the first line of user code; *thrash* are starts within 10 s of a stop of the same function;
*unused* are containers that ran nothing; *begun* are the inputs whose waits are counted: on a full machine those of the
smaller function, until the look ends. The oracle knows the future (bench/simulation/oracle.py). Reasons for the choice:
docs/adr/0013."""

HEAD = (
    "| policy | starts | wait p50 ms | wait p99 ms | mean ms | container-seconds | thrash | unused | begun |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def compare(load: loads.Load, chosen: list[policies.Policy], say: Callable[[str], None]) -> None:
    say(f"\n**{load.name}** ({len(load.arrivals):,} inputs)\n\n{HEAD}")
    known = oracle.bound(load)
    say(
        f"| *oracle* | {known.starts:,} | {known.p50 * 1e3:,.0f} | {known.p99 * 1e3:,.0f} | "
        f"| {known.container_seconds:,.0f} | 0 | 0 | |"
    )
    for policy in chosen:
        if load.heavy and not policy.differs:
            continue
        say(row(policy.name, platform.Platform(load, policy).run()))
    if load.watch:
        alone = platform.Platform(load, policies.Policy(""), reclaims=False).run()
        say(row("chosen, but nobody ever gives", alone))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", default="", help="only those whose name has this in it")
    parser.add_argument("--policies", default="", help="only those whose name has this in it")
    parser.add_argument("--load-file", type=Path, help="a recorded load instead")
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args()
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    say(NOTE)
    began = time.perf_counter()
    known = [loads.recorded(options.load_file)] if options.load_file else loads.everything()
    chosen = [policy for policy in policies.everything() if options.policies in policy.name]
    for load in known:
        if options.loads in load.name:
            compare(load, chosen, say)
    if not options.loads and not options.load_file:
        say("\n" + placing.report())
    say(f"\nTook {time.perf_counter() - began:.0f} s.")
    if options.write:
        sections.put("The autoscaler, simulated", "\n".join(lines))


if __name__ == "__main__":
    main()
