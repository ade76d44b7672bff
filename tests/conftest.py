"""One real platform for each process that runs tests, in a home of its own; after the session nothing of it may remain.

``WINDLASS_TEST_HOME`` chooses the home; with several processes (``-n``) each has one beside it. The default lies in the
user's cache folder: the layers of images, and the Pythons that are added to them, survive there from session to
session, everything else is wiped before the platform starts. The base, which takes half a minute and more, is made by
one process; the others link its files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fake_gpus
import leftovers
import longest
import stage as stages

_KEPT = ("layers", "pythons")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell's & leaves it; programs under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _home() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("WINDLASS_TEST_HOME") or cache / "windlass-test").absolute()
    process = os.environ.get("PYTEST_XDIST_WORKER")
    return home.with_name(f"{home.name}-{process}") if process else home


def _wipe(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for entry in home.iterdir():
        if entry.name not in _KEPT:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for layer in (home / "layers").glob("*"):
        if not (layer / "meta.json").exists():
            shutil.rmtree(layer)


# Before any test: an SDK of this process that has looked for its platform remembers where.
os.environ["WINDLASS_HOME"] = str(_home())


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Two sessions in one home would end each other's platform."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(f"another test session uses {home}; choose another home with WINDLASS_TEST_HOME", 3)
        yield


@contextlib.contextmanager
def _one_makes_the_base(home: Path) -> Iterator[None]:
    """The others wait, and link what it made."""
    process = os.environ.get("PYTEST_XDIST_WORKER")
    if process is None:
        yield
        return
    family = home.name.removesuffix(process)
    with home.with_name(f"{family}base.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (home / "layers").mkdir(exist_ok=True)
        # Not of homes that tests make beside them: what lies there may be half linked, or go.
        homes = [one for one in home.parent.glob(f"{family}gw*") if one.name.removeprefix(f"{family}gw").isdigit()]
        for layer in [layer for one in homes for layer in one.glob("layers/im-*")]:
            is_base = (layer / "files/etc/debian_version").exists() and (layer / "meta.json").exists()
            if is_base and not (home / "layers" / layer.name).exists():
                subprocess.run(["cp", "-al", layer, home / "layers"], check=True)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, long files first; ``--no-loadscope-reorder`` keeps it so."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: longest.order(item.path, Path(__file__).parent))


@pytest.fixture(scope="session")
def stage() -> Iterator[stages.Stage]:
    """The platform. In this process, too, the SDK finds it (``WINDLASS_HOME``)."""
    home = _home()
    with _only_one(home):
        yield from _staged(home)


def _staged(home: Path) -> Iterator[stages.Stage]:
    platform = stages.Stage(
        home, **stages.PATIENCE,
        WINDLASS_GPU_ROOT=str(home / "fake-gpus"),
    )  # fmt: skip
    platform.stop()
    _wipe(home)
    fake_gpus.make(home / "fake-gpus", "Tesla T4", "Tesla T4", "NVIDIA H100 80GB HBM3")
    try:
        with _one_makes_the_base(home):  # alone: what others do with our layers is not left by anybody
            # What was stopped just now may take a moment to be gone.
            stages.until(lambda: not leftovers.look(home), 10, f"left by an earlier session: {leftovers.look(home)}")
            platform.start()
            platform.base()
        yield platform
    finally:
        platform.stop()
        stages.until(lambda: not leftovers.look(home), 10, f"nothing left: {leftovers.look(home)}")


@pytest.fixture
def program(tmp_path: Path):
    """Write a program: ``program("name.py", source)`` gives its path."""

    def write(name: str, source: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return str(path)

    return write
