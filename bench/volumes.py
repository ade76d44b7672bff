"""What volumes cost, with the machine's own file system beside them.

    python bench/volumes.py [--write] [--large GiB] [--only PART]

The platform that is up is used; it is started if need be. Files are read cold after their pages were given up. Putting
large files takes up to 16 GiB of the disk, for an hour or until `windlass storage gc --older-than 1m`.
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
from pathlib import Path

import windlass
from windlass import paths

MANY, SMALL = 50_000, 10_000
SEEN = 5
ROUNDS = 5
FREED = 5 << 30
app = windlass.App("bench-volumes")


def fill(count: int, volume_id: str) -> float:
    """Write ``count`` small files and commit them; seconds of the commit."""
    import pathlib
    import time

    import windlass

    for n in range(count):
        folder = pathlib.Path(f"/data/{n // 1000:03}")
        folder.mkdir(exist_ok=True)
        (folder / f"{n}").write_bytes(b"x" * 100)
    began = time.perf_counter()
    windlass.Volume.from_id(volume_id).commit()
    return time.perf_counter() - began


def change(volume_id: str, runs: int) -> list[float]:
    """Change one file and commit it, some times; seconds of each commit."""
    import time

    import windlass

    volume = windlass.Volume.from_id(volume_id).hydrate()
    taken = []
    for n in range(runs):
        with open("/data/025/25000", "w") as file:
            file.write(str(n))
        began = time.perf_counter()
        volume.commit()
        taken.append(time.perf_counter() - began)
    return taken


def write_large(size: int, volume_id: str) -> None:
    import os

    import windlass

    piece = os.urandom(1 << 20)
    with open("/data/large", "wb") as file:
        for _ in range(size >> 20):
            file.write(piece)
    windlass.Volume.from_id(volume_id).commit()


def read_large(path: str, cold: bool) -> float:
    """Bytes per second of reading a file from beginning to end."""
    import os
    import time

    descriptor = os.open(path, os.O_RDONLY)
    if cold:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    buffer, size = bytearray(1 << 20), 0
    began = time.perf_counter()
    while got := os.readv(descriptor, [buffer]):
        size += got
    taken = time.perf_counter() - began
    os.close(descriptor)
    return size / taken


def one_of_many(n: int, volume_id: str) -> None:
    import windlass

    with open(f"/data/n{n}", "w") as file:
        file.write(str(n))
    windlass.Volume.from_id(volume_id).commit()


def nothing() -> None:
    pass


def volume(name: str) -> windlass.Volume:
    windlass.Volume.objects.delete(name, allow_missing=True)
    return windlass.Volume.from_name(name, create_if_missing=True).hydrate()


def function(body, mounted=None, **options):
    return app.function(
        serialized=True, volumes={"/data": mounted} if mounted is not None else {}, timeout=1200,
        name=f"{body.__name__}-{len(app.registered_functions)}", memory=4096, **options
    )(body)  # fmt: skip


def reading(size: int) -> list[str]:
    """A large file, through a volume and from the disk, turn by turn in the same container's limits."""
    kept = volume("bench-large")
    writer, reader = function(write_large, kept), function(read_large, kept)
    native = paths.home() / "bench-native"
    lines = []
    with app.run():
        writer.remote(size, kept.object_id)
        shutil.copyfile(next((paths.home() / "volumes").glob("*/files/large")), native)
        for cold in (True, False):
            rates: dict[str, list[float]] = {"volume": [], "native": []}
            for _ in range(SEEN):
                rates["volume"].append(reader.remote("/data/large", cold))
                rates["native"].append(read_large(str(native), cold))
            through, beside = (statistics.median(rates[name]) for name in ("volume", "native"))
            lines.append(
                f"| sequential read of {size / 2**30:g} GiB, {'cold' if cold else 'warm'} | {through / 1e6:,.0f} MB/s "
                f"| {beside / 1e6:,.0f} MB/s | {through / beside:.0%} of native |"
            )
    native.unlink()
    windlass.Volume.objects.delete("bench-large")
    return lines


def many_files() -> list[str]:
    """Starts with a volume of many files beside starts without; commits of one file of many."""
    kept = volume("bench-many")
    filler, changer = function(fill, kept), function(change, kept)
    with_volume = function(nothing, kept, single_use_containers=True)
    without = function(nothing, single_use_containers=True)
    with app.run():
        first = filler.remote(MANY, kept.object_id)
        commits = changer.remote(kept.object_id, 11)[1:]
        starts: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(15):
            for name, called in (("with", with_volume), ("without", without)):
                began = time.perf_counter()
                called.remote()
                starts[name].append(time.perf_counter() - began)
    more = (statistics.median(starts["with"]) - statistics.median(starts["without"])) * 1000
    windlass.Volume.objects.delete("bench-many")
    return [
        f"| cold call with a volume of {MANY:,} files beside one without | "
        f"{statistics.median(starts['with']) * 1000:.0f} ms | {statistics.median(starts['without']) * 1000:.0f} ms "
        f"| {more:+.0f} ms |",
        f"| commit of {MANY:,} new files | {first:.1f} s | | {MANY / first:,.0f} files/s |",
        f"| commit of one changed file in it | {statistics.median(commits) * 1000:.0f} ms | "
        f"| worst {max(commits) * 1000:.0f} ms |",
    ]


def putting(size: int) -> list[str]:
    """`windlass volume put` beside `cp`."""
    lines = []
    with tempfile.TemporaryDirectory(dir=paths.home()) as folder:
        tree = Path(folder) / "tree"
        for n in range(SMALL):
            (tree / f"{n // 500}").mkdir(parents=True, exist_ok=True)
            (tree / f"{n // 500}" / f"{n}").write_bytes(os.urandom(1000))
        large = Path(folder) / "large"
        with large.open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        volume("bench-put")
        taken, copied = put(tree, "/small"), copy(tree, Path(folder) / "copy")
        lines.append(
            f"| `volume put` of {SMALL:,} files of 1 kB | {taken:.2f} s, {SMALL / taken:,.0f} files/s "
            f"| {copied:.2f} s (`cp -r`) | |"
        )
        taken = get("/small", Path(folder) / "back of many")
        lines.append(f"| `volume get` of them | {taken:.2f} s, {SMALL / taken:,.0f} files/s | | |")
        lines += [beside_cp(large, Path(folder), is_freed) for is_freed in (False, True)]
        kept = copy(large, Path(folder) / "kept", kept=True)
        lines.append(f"| `cp` of it and `sync -f`, once | | {kept:.2f} s | |")
        taken = get(f"/{True}0", Path(folder) / "back")
        lines.append(f"| `volume get` of {size / 2**30:g} GiB | {taken:.2f} s | | |")
    windlass.Volume.objects.delete("bench-put")
    return lines


def beside_cp(large: Path, folder: Path, is_freed: bool) -> str:
    """`windlass volume put` of a large file and `cp`, in turn. What counts is the memory that the kernel gives for the
    new pages: where this machine is a virtual one, its host may have to provide it when it is first touched. So all
    that is written stays until the end, and before each the kernel gets pages back from somebody else, or from nobody.
    """
    taken: dict[str, list[float]] = {"put": [], "cp": []}
    copies = [folder / f"copy{n}" for n in range(ROUNDS)]
    for n, target in enumerate(copies):
        for name in ("put", "cp") if n % 2 else ("cp", "put"):
            os.sync()  # what was written before shall not slow down what comes
            time.sleep(1)
            if is_freed:
                free(FREED)  # last: after two seconds a guest may have given free pages back to its host
            taken[name].append(put(large, f"/{is_freed}{n}") if name == "put" else copy(large, target))
        with large.open("r+b") as file:  # another file in the next round
            file.write(os.urandom(16))
    for one in copies:
        one.unlink()
    ratios = [copied / through for through, copied in zip(taken["put"], taken["cp"], strict=True)]
    memory = "memory just freed" if is_freed else "fresh memory"
    whole = statistics.median(taken["cp"]) / statistics.median(taken["put"])
    return (
        f"| `volume put` of {large.stat().st_size / 2**30:g} GiB, {ROUNDS} times in turn with `cp`, into {memory} "
        f"| {spread(taken['put'])} s | {spread(taken['cp'])} s (`cp`) "
        f"| {whole:.0%} of native, by medians; each pair {min(ratios):.0%} to {max(ratios):.0%} |"
    )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def free(size: int) -> None:
    """Let the kernel have pages that were just used."""
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        piece = bytes(1 << 22)
        for _ in range(size >> 22):
            file.write(piece)


CLI = [sys.executable, "-m", "windlass.cli", "volume"]
# As it is installed: with the bytecode of the library, which some settings of developers keep from being written.
INSTALLED = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(paths.home() / "bench-bytecode")}


def put(local: Path, remote: str) -> float:
    return moved("put", "bench-put", str(local), remote, "--force")


def get(remote: str, local: Path) -> float:
    return moved("get", "bench-put", remote, str(local))


def moved(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([*CLI, *words], check=True, capture_output=True, env=INSTALLED)
    return time.perf_counter() - began


def copy(source: Path, target: Path, *, kept: bool = False) -> float:
    """``kept``: until it is on the disk."""
    began = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    if kept:
        subprocess.run(["sync", "-f", str(target)], check=True)
    return time.perf_counter() - began


def at_once(containers: int = 20) -> list[str]:
    kept = volume("bench-at-once")
    many = function(one_of_many, kept, max_containers=containers, single_use_containers=True)
    with app.run():
        began = time.perf_counter()
        list(many.starmap([(n, kept.object_id) for n in range(containers)]))
        taken = time.perf_counter() - began
    there = {entry.path for entry in kept.listdir("/")}
    lost = containers - len(there & {f"n{n}" for n in range(containers)})
    windlass.Volume.objects.delete("bench-at-once")
    return [f"| {containers} containers start, write distinct files and commit | {taken:.1f} s | | {lost} lost |"]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--write", action="store_true")
    options.add_argument("--large", type=float, default=2.0)
    options.add_argument("--only", choices=["at-once", "many", "putting", "reading"])
    chosen = options.parse_args()
    lines = ["| | volume | native | |", "|---|---|---|---|"]
    half, whole = int(chosen.large * 2**29), int(chosen.large * 2**30)
    global app
    parts = {
        "at-once": at_once, "many": many_files, "putting": lambda: putting(half), "reading": lambda: reading(whole)
    }  # fmt: skip
    for part in [parts[name] for name in ([chosen.only] if chosen.only else parts)]:
        app = windlass.App("bench-volumes")  # the volumes of the part before are gone
        for line in part():
            lines.append(line)
            print(line, flush=True)
    if chosen.write:
        import sections

        sections.put("Volumes", "\n".join([f"`python bench/volumes.py`, {time.strftime('%Y-%m-%d')}:", "", *lines]))


if __name__ == "__main__":
    main()
