"""A disk that runs full under volumes: typed errors, nothing that was acknowledged is lost, and all goes on after."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stage import Stage, on_a_small_disk, until

PROGRAM = """
import modal, os, time
volume = modal.Volume.from_name("v", create_if_missing=True)
shared = modal.NetworkFileSystem.from_name("s", create_if_missing=True)
app = modal.App("test-volume-full", image=modal.Image.debian_slim())

def said(action):
    try:
        action()
        return "fine"
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"

@app.function(volumes={"/data": volume}, network_file_systems={"/shared": shared}, timeout=120, retries=0)
def work():
    seen = []
    open("/data/first", "w").write("acknowledged")
    seen.append(said(volume.commit))
    held = open("/data/large", "wb")  # open, so a commit has to copy it
    held.write(os.urandom(200 * 2**20))
    held.flush()
    print("READY", flush=True)
    while not os.path.exists("/shared/go"):
        time.sleep(0.1)
    seen.append(said(volume.commit))
    print("FAILED", flush=True)
    while not os.path.exists("/shared/freed"):
        time.sleep(0.1)
    seen.append(said(volume.commit))
    held.close()
    return seen

@app.local_entrypoint()
def main():
    import json
    print("GOT", json.dumps(work.remote()))
"""


@pytest.fixture
def small(stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """A platform on a disk of 1.5 GiB that has the base already."""
    with on_a_small_disk(stage.base(), tmp_path, 1536 * 2**20) as platform:
        yield platform


def _fill(home: Path, leaving: int) -> Path:
    """Take all of the disk but so many bytes."""
    ballast = home.parent / "ballast"
    state = os.statvfs(home)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - leaving)
    return ballast


def _layers(home: Path) -> set[str]:
    return {path.name for path in (home / "volumes").iterdir() if path.name.startswith(".new-")}


def test_a_full_disk_fails_an_upload_and_a_commit_clearly_and_loses_nothing(small, tmp_path, program):
    large = tmp_path / "large"
    large.write_bytes(os.urandom(300 * 2**20))
    small.cli("volume", "create", "v", check=0)
    (tmp_path / "word").write_text("kept")
    small.cli("volume", "put", "v", str(tmp_path / "word"), "/word", check=0)

    ballast = _fill(small.home, leaving=150 * 2**20)
    ran = small.cli("volume", "put", "v", str(large), "/large")
    assert ran.code == 1 and "disk" in ran.err and "full" in ran.err and "Traceback" not in ran.err, ran.text
    assert small.cli("volume", "get", "v", "/word", "-", check=0).out == "kept"
    assert "large" not in small.cli("volume", "ls", "v", check=0).out
    ballast.unlink()
    small.cli("volume", "put", "v", str(large), "/large", check=0, timeout=200)
    small.cli("volume", "rm", "v", "/large", check=0)

    with small.background("run", program("full.py", PROGRAM)) as running:
        log: list[str] = []

        def came(word: str) -> bool:
            assert running.stdout is not None
            while word not in "".join(log):
                line = running.stdout.readline()
                if not line:
                    raise AssertionError("".join(log))
                log.append(line)
            return True

        came("READY")
        shared = next((small.home / "nfs").glob("*/files"))
        ballast = _fill(small.home, leaving=120 * 2**20)
        (shared / "go").touch()
        came("FAILED")
        assert small.cli("volume", "get", "v", "/first", "-", check=0).out == "acknowledged"
        ballast.unlink()
        (shared / "freed").touch()
        came("GOT")
        running.wait(60)
    first, full, after = json.loads(next(line for line in log if "GOT" in line).split("GOT ", 1)[1])
    assert (first, after) == ("fine", "fine")
    assert "full" in full and full.startswith(("ResourceExhaustedError", "RuntimeError")), full
    entries = {entry["filename"]: entry["size"] for entry in small.json("volume", "ls", "v")}
    assert int(entries["large"]) == 200 * 2**20 and entries.keys() == {"first", "large", "word"}
    assert "is whole" in small.cli("volume", "check", "v", check=0, timeout=120).out
    until(lambda: not _layers(small.home), 10, "no drafts")
