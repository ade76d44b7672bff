"""The figures of the main job and of images, peers beside them in the same run; writes ``bench/RESULTS.md``.

    scripts/bench                 # everything; needs Ray from the dependency group "bench"
    python bench/main_job.py --only call,map

Every figure is measured through the public SDK or command line against the platform that is up (it is started
if need be). Times are wall clock on this machine; quote medians and ratios, not single runs.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import windlass
import windlass.paths

if windlass.is_local():  # containers get this file alone
    import images
    import sections

HERE = Path(__file__).parent
app = windlass.App("bench-main-job")


@app.function(max_containers=1)
def noop(x: int = 0) -> int:
    return x


@app.function(max_containers=2)
def noop_map(x: int) -> int:
    return x


@app.function(single_use_containers=True)
def first_line() -> float:
    return time.time()


@app.function(max_containers=100)
def nap(x: int) -> str:
    time.sleep(1)
    return os.environ["WINDLASS_TASK_ID"]


@app.function(max_containers=100, single_use_containers=True)
def long_nap(x: int) -> tuple[str, float]:
    began = time.time()
    time.sleep(12)
    return os.environ["WINDLASS_TASK_ID"], began


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms (n={len(ordered)})"


def time_calls(call: Callable[[], object], count: int, warmup: int = 100) -> list[float]:
    for _ in range(warmup):
        call()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def bench_call() -> list[tuple[str, str]]:
    return [("warm `.remote()` of a no-op, durable", percentiles(time_calls(noop.remote, 2000)))]


def bench_map() -> list[tuple[str, str]]:
    count = 10_000
    list(noop_map.map(range(200)))
    rates = []
    for _ in range(3):
        began = time.perf_counter()
        assert sum(noop_map.map(range(count))) == sum(range(count))
        rates.append(count / (time.perf_counter() - began))
    text = ", ".join(f"{r:,.0f}" for r in rates)
    return [(f"`.map` over {count:,} no-ops", f"{statistics.median(rates):,.0f}/s (runs: {text})")]


def bench_cold() -> list[tuple[str, str]]:
    taken = []
    for _ in range(30):
        began = time.time()
        taken.append(first_line.remote() - began)
    return [("cold start, request to first line of user code", percentiles(taken))]


def bench_burst() -> list[tuple[str, str]]:
    began = time.perf_counter()
    containers = set(nap.map(range(100)))
    took = time.perf_counter() - began
    rows = [("100 inputs that sleep 1 s, from zero containers", f"{took:.1f} s on {len(containers)} containers")]
    start = time.time()
    done = list(long_nap.map(range(100)))
    alive, last = len({container for container, _ in done}), max(began for _, began in done) - start
    rows.append(("100 containers alive at once, from zero", f"{alive}; the last in user code after {last:.1f} s"))
    return rows


def wall(*argv: str, runs: int = 7) -> str:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return f"median {statistics.median(taken):.2f} s, max {max(taken):.2f} s (n={runs})"


def bench_cli() -> list[tuple[str, str]]:
    command = str(Path(sys.executable).with_name("windlass"))
    return [
        ("`windlass run` of hello world, platform up", wall(command, "run", str(HERE / "hello.py"))),
        ("`windlass --help`", wall(command, "--help")),
    ]


def processes(*words: str) -> list[int]:
    """Pids whose command line holds all the words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in line + " " for word in words) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional memory in MB."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()[:3]
        fields[name] = int(value) / 1024
    return fields["Rss:"], fields["Pss:"]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench_idle() -> list[tuple[str, str]]:
    noop.remote()
    time.sleep(3)
    rows = []
    home = str(windlass.paths.home())
    programs = {name: processes(f"-m windlass.{name} --home {home} ") for name in ("server", "worker")}
    pids = [pid for found in programs.values() for pid in found]
    before, began = sum(map(cpu_seconds, pids)), time.time()
    time.sleep(20)
    share = (sum(map(cpu_seconds, pids)) - before) / (time.time() - began)
    sizes = {name: sum(memory(p)[0] for p in found) for name, found in programs.items()}
    text = " + ".join(f"{name} {size:.0f} MB" for name, size in sizes.items())
    rows.append(("idle server and worker (resident)", f"{text} = {sum(sizes.values()):.0f} MB, {share:.2%} of a core"))
    insides: dict[str, list[int]] = {}
    for pid in processes("runner/boot.py"):
        insides.setdefault(os.readlink(f"/proc/{pid}/ns/pid"), []).append(pid)
    monitors = processes("conmon ", home)
    if insides:
        sums = [[sum(column) for column in zip(*map(memory, pids), strict=True)] for pids in insides.values()]
        resident, proportional = (statistics.median(column) for column in zip(*sums, strict=True))
        monitor = statistics.median(memory(p)[1] for p in monitors) if monitors else 0.0
        text = f"{proportional:.1f} MB (sum of resident sizes {resident:.1f} MB), its monitor {monitor:.1f} MB"
        rows.append(("idle container", text))
    return rows


def bench_peers() -> list[tuple[str, str]]:
    rows = []
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        taken = time_calls(lambda: pool.submit(abs, 1).result(), 2000)
        rows.append(("ProcessPoolExecutor(2) round trip", percentiles(taken)))
        began = time.perf_counter()
        list(pool.map(abs, range(10_000)))
        rows.append(("ProcessPoolExecutor(2) map of 10,000", f"{10_000 / (time.perf_counter() - began):,.0f}/s"))
    try:
        import ray
    except ImportError:
        return [*rows, ("Ray", "not installed (uv pip install ray)")]
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)

    @ray.remote
    def task(x: int = 0) -> int:
        return x

    @ray.remote
    class Actor:
        def noop(self, x: int = 0) -> int:
            return x

    actor = Actor.options(num_cpus=0).remote()
    rows.append(("Ray task round trip", percentiles(time_calls(lambda: ray.get(task.remote()), 1000))))
    rows.append(("Ray actor round trip", percentiles(time_calls(lambda: ray.get(actor.noop.remote()), 2000))))
    for name, submit in (("task", lambda n: task.remote(n)), ("actor", lambda n: actor.noop.remote(n))):
        began = time.perf_counter()
        ray.get([submit(n) for n in range(10_000)])
        rows.append((f"Ray 10,000 {name} calls", f"{10_000 / (time.perf_counter() - began):,.0f}/s"))
    ray.shutdown()
    return rows


SECTIONS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "call": bench_call,
    "map": bench_map,
    "cold": bench_cold,
    "burst": bench_burst,
    "idle": bench_idle,
    "cli": bench_cli,
    "images": lambda: images.bench_images(),
    "peers": bench_peers,
}
LOCAL = {"cli", "images", "peers"}


def machine() -> str:
    model = next(
        (s.split(":")[1].strip() for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}"]
    for package in ("windlass", "ray"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"{os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, Linux {platform.release()}, "
        f"user id {os.geteuid()}; {', '.join(versions)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated: " + ", ".join(SECTIONS))
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    args = parser.parse_args()
    chosen = [name for name in SECTIONS if name in args.only.split(",")]
    rows: list[tuple[str, str]] = []
    print(machine(), flush=True)

    def measure(name: str) -> None:
        for row in SECTIONS[name]():
            rows.append(row)
            print(f"{row[0]}: {row[1]}", flush=True)

    if any(name not in LOCAL for name in chosen):
        with app.run():
            for name in chosen:
                if name not in LOCAL:
                    measure(name)
    for name in chosen:
        if name in LOCAL:
            measure(name)
    if args.write:
        table = "\n".join(f"| {name} | {figure} |" for name, figure in rows)
        day = time.strftime("%Y-%m-%d")
        (HERE / "RESULTS.md").write_text(
            f"# Figures\n\nMade by `scripts/bench` on {day}: {machine()}.\n\n| what | figure |\n|---|---|\n{table}\n"
            + sections.others()
        )


if __name__ == "__main__":
    main()
