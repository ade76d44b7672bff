"""The figures of images, peers beside them in the same run.

    scripts/bench --only images            # with the other figures, into bench/RESULTS.md
    python bench/images.py [--runs 7]      # alone

A build is measured from the client's side: an app that uses the image is run and stopped, with nothing else in it. What
is compared alternates (one of ours, one of the peer's, and again), because the speed of an index drifts.
"""
from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import windlass
import windlass.paths

PACKAGES = ("fastapi", "numpy")
CONTAINERS = 20
GIB = 2**30
base = windlass.Image.debian_slim()


def fresh(image: windlass.Image, command: str = "true") -> windlass.Image:
    """``image`` with a step that is in no cache."""
    return image.run_commands(f"{command} # {uuid.uuid4().hex}")


def use(image: windlass.Image) -> float:
    """Seconds to run an app whose image this is: what is unknown gets built."""
    app = windlass.App("bench-images", image=image)
    app.function(serialized=True)(len)
    began = time.perf_counter()
    with app.run():
        pass
    return time.perf_counter() - began


def spread(seconds: Iterable[float], unit: float = 1.0, name: str = "s") -> str:
    ordered = sorted(value / unit for value in seconds)
    middle = statistics.median(ordered)
    return f"median {middle:.2f} {name}, {ordered[0]:.2f}–{ordered[-1]:.2f} (n={len(ordered)})"


def bench_resolve(runs: int) -> list[tuple[str, str]]:
    ten = base
    for number in range(9):
        ten = ten.run_commands(f"true # step {number} of the bench")
    use(base), use(ten)
    alone, chain = [], []
    for _ in range(max(runs, 20)):
        alone.append(use(base))
        chain.append(use(ten))
    more = statistics.median(chain) - statistics.median(alone)
    text = f"{more * 1e3:.1f} ms (a run of nothing: {statistics.median(alone) * 1e3:.1f} ms with one step)"
    return [("an unchanged image of 10 steps adds to a run", text)]


def bench_step(runs: int) -> list[tuple[str, str]]:
    use(base)
    return [("a build step that runs `true`, with the run around it", spread(use(fresh(base)) for _ in range(runs)))]


def native(uv: str) -> float:
    """Seconds of ``uv pip install`` into a fresh virtual environment."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([uv, "venv", "--quiet", folder, "--python", sys.executable], check=True)
        line = [uv, "pip", "install", "--quiet", "--no-cache", "--python", f"{folder}/bin/python", *PACKAGES]
        began = time.perf_counter()
        subprocess.run(line, check=True)
        return time.perf_counter() - began


def bench_packages(runs: int) -> list[tuple[str, str]]:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    ours, theirs = [], []
    use(base)
    for _ in range(runs):
        theirs.append(native(uv))
        ours.append(use(base.pip_install(*PACKAGES, env={"BENCH": uuid.uuid4().hex})))
    what = " + ".join(PACKAGES)
    more = statistics.median(ours) - statistics.median(theirs)
    return [
        (f"pip_install of {what}, compiled, no cache", f"{spread(ours)}; {more:+.2f} s to the next line"),
        (f"`uv pip install` of {what} into a fresh venv, not compiled, no cache", spread(theirs)),
    ]



def start(image: windlass.Image) -> float:
    """Seconds per container, from the call to the last of ``CONTAINERS`` in user code, from zero containers."""
    app = windlass.App("bench-starts", image=image)
    function = app.function(serialized=True, single_use_containers=True, max_containers=CONTAINERS)(now_of)
    with app.run():
        began = time.time()
        return (max(function.map(range(CONTAINERS))) - began) / CONTAINERS


def now_of(number: int) -> float:
    import time

    return time.time()


def bench_starts(runs: int) -> list[tuple[str, str]]:
    if shutil.disk_usage(windlass.paths.home()).free < 8 * GIB:
        return [("containers of a large image", "not measured: less than 8 GiB are free")]
    many = "mkdir /big && cd /big && for i in $(seq 0 29999); do head -c 16384 /dev/urandom > f$i; done"
    large = base.run_commands(f"{many} # of the bench").run_commands(
        "for i in $(seq 0 9); do head -c 260M /dev/urandom > /big/large$i; done # of the bench"
    )
    use(base), use(large)
    start(base), start(large)
    small_ones, large_ones = [], []
    for _ in range(runs):
        small_ones.append(start(base))
        large_ones.append(start(large))
    more = statistics.median(large_ones) / statistics.median(small_ones) - 1
    return [
        (f"{CONTAINERS} containers of debian_slim, each", spread(small_ones, 1e-3, "ms")),
        (f"{CONTAINERS} containers of an image 3 GB larger, each", f"{spread(large_ones, 1e-3, 'ms')}; {more:+.1%}"),
    ]


def layers() -> set[str]:
    return {path.name for path in (windlass.paths.home() / "layers").glob("im-*")}


def disk(names: Iterable[str]) -> int:
    folders = [str(windlass.paths.home() / "layers" / name) for name in names]
    if not folders:
        return 0
    done = subprocess.run(["du", "--summarize", "--total", "--block-size=1", *folders], capture_output=True, check=True)
    return int(done.stdout.split(b"\n")[-2].split()[0])


def bench_sharing(runs: int) -> list[tuple[str, str]]:
    use(base)
    shared = base
    for number in range(8):
        shared = fresh(shared, f"head -c 20M /dev/urandom > /data{number}")
    before = layers()
    use(fresh(shared, "head -c 1M /dev/urandom > /one"))
    first = layers() - before
    use(fresh(shared, "head -c 1M /dev/urandom > /two"))
    second = layers() - before - first
    text = f"the first takes {disk(first) / 1e6:.0f} MB besides its base, the second {disk(second) / 1e6:.1f} MB more"
    return [("two images of 10 steps that share the first nine", f"{text} ({len(first)} and {len(second)} layers)")]


SECTIONS: dict[str, Callable[[int], list[tuple[str, str]]]] = {
    "resolve": bench_resolve,
    "step": bench_step,
    "packages": bench_packages,
    "starts": bench_starts,
    "sharing": bench_sharing,
}


def bench_images(runs: int = 7) -> list[tuple[str, str]]:
    """All figures of images, for ``bench/main_job.py``."""
    return [row for section in SECTIONS.values() for row in section(runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated: " + ", ".join(SECTIONS))
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for name in args.only.split(","):
        for what, figure in SECTIONS[name](args.runs):
            print(f"{what}: {figure}", flush=True)


if __name__ == "__main__":
    main()
