"""Steps that misbehave: each ends with a clear error, and neither harms the platform nor leaves anything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import leftovers
import windlass
from stage import until

SLIM = windlass.Image.debian_slim
Failed = windlass.exception.ImageBuildError


def step(command: str, **fields: object) -> windlass.Image:
    """An image with one step that is not in the cache; ``fields`` of its recipe as ``run_function`` may set them."""
    recipe = {"op": "run", "commands": [f"{command} # {uuid.uuid4().hex}"], **fields}
    return SLIM()._step(recipe)  # type: ignore[arg-type]


def build(image: windlass.Image) -> None:
    app = windlass.App("test-misbehaving", image=image)
    app.function(serialized=True)(len)
    with app.run():
        pass


def steps(stage) -> list[str]:
    """Control groups of steps that run now."""
    pattern = f"windlass-{leftovers.tag(stage.home)}/st-*"
    found = [*Path("/sys/fs/cgroup").glob(pattern), *Path("/sys/fs/cgroup").glob(f"*/{pattern}")]
    return [str(path) for path in found]


@contextlib.contextmanager
def leaving_nothing(stage) -> Iterator[None]:
    layers = stage.home / "layers"
    before = set(os.listdir(layers))
    yield
    assert set(os.listdir(layers)) == before
    until(lambda: not os.listdir(stage.home / "steps"), what="no folder of a step")
    until(lambda: not steps(stage), what="no control group of a step")


PROGRAM = """
import modal
app = modal.App("test-output", image=modal.Image.debian_slim().run_commands({command!r}))

@app.function()
def f(): ...

@app.local_entrypoint()
def main(): print("BUILT")
"""


def peak(pid: int) -> int:
    """The most memory that a process had, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) // 1024


def inner(pid: int) -> int:
    """The worker itself, below the program that took it into the node."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if b"windlass.worker\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return inner(int(child))
    return pid


def test_a_gigabyte_of_output_fills_neither_memory_nor_database_nor_terminal(stage, program):
    pids = [stage.pid("server"), inner(stage.pid("worker"))]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget earlier peaks
    before = [peak(pid) for pid in pids]
    size = sum(path.stat().st_size for path in (stage.home / "db").iterdir())
    command = f"yes {'0123456789' * 9} | head -c 1G; echo; echo the very'' end # {uuid.uuid4().hex}"
    began = time.monotonic()
    ran = stage.cli("run", program("much.py", PROGRAM.format(command=command)), timeout=180, check=0)
    print(f"1 GiB of output took {time.monotonic() - began:.1f} s; peaks of server and worker: {before} MiB before")
    after = [peak(pid) for pid in pids]
    print(f"and {after} MiB after; {len(ran.text):,} characters for the client")
    assert "BUILT" in ran.out
    assert "the rest is left out" in ran.text and "left out; the end" in ran.text and "the very end" in ran.text
    assert len(ran.text) < 6 * 2**20
    assert all(now < then + 64 for then, now in zip(before, after, strict=True)), (before, after)
    grown = sum(path.stat().st_size for path in (stage.home / "db").iterdir()) - size
    assert grown < 16 * 2**20


def test_output_that_is_no_text_is_shown_as_text(stage, program):
    command = (
        r"printf 'one\0two\377\n'; printf '\033[31mred\033[0m\n'; printf '1%%\r50%%\r100%%\n'; "
        r"head -c 100000 /dev/urandom; echo; head -c 100000 /dev/zero | tr '\0' x; echo; echo at the end "
        f"# {uuid.uuid4().hex}"
    )
    ran = stage.cli("run", program("binary.py", PROGRAM.format(command=command)), check=0)
    assert "one\ufffdtwo\ufffd" in ran.text and "red" in ran.text and "at the end" in ran.text
    assert "\n100%\n" in ran.text and "\n50%" not in ran.text
    assert not set(ran.text) & {"\0", "\x1b", "\r"}


def test_a_step_that_hangs_ends_at_its_timeout_with_all_it_started(stage):
    mark = uuid.uuid4().hex
    with leaving_nothing(stage):
        began = time.monotonic()
        with pytest.raises(Failed, match=r"did not end within 2 s") as caught:
            build(step(f"echo before it hangs; (exec -a {mark} sleep 900) & sleep 800", timeout=2.0))
        assert time.monotonic() - began < 60 and "before it hangs" in str(caught.value)
    assert not running("sleep 900", "sleep 800")


def running(*words: str) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            line = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            found += [line for word in words if line == word]
    return found


def test_what_a_step_leaves_in_the_background_ends_with_it(stage):
    began = time.monotonic()
    build(step("sleep 777 & (trap '' HUP TERM; sleep 778) & echo done"))
    assert time.monotonic() - began < 60
    assert not running("sleep 777", "sleep 778")


def test_a_fork_bomb_is_bounded_and_ends(stage):
    bomb = "python3 -c 'import os, time\nwhile True:\n try: os.fork()\n except OSError: time.sleep(1)'"
    with leaving_nothing(stage):
        began = time.monotonic()
        with pytest.raises(Failed, match="did not end within 4 s"):
            build(step(bomb, timeout=4.0))
        assert time.monotonic() - began < 60
    assert stage.cli("app", "list").code == 0


def test_a_step_that_needs_too_much_memory_says_so_with_the_limit(stage):
    """The limit of a step is nine tenths of the machine: here it is lowered while the step waits."""

    def lower() -> None:
        until(lambda: running("sleep 3.21"), what="the step")  # its groups have their own limits then
        for group in steps(stage):
            for name in ("memory.limit_in_bytes", "memory.max"):
                if (Path(group) / name).exists():
                    (Path(group) / name).write_text(str(256 * 2**20))

    waiting = threading.Thread(target=lower)
    with leaving_nothing(stage):
        waiting.start()
        with pytest.raises(Failed, match=r"out of memory; the step may use \d+ MiB") as caught:
            build(step("sleep 3.21; python3 -c 'x = bytearray(600 << 20)'; code=$?; echo it gave $code; exit $code"))
        waiting.join()
    assert "exit code 137" in str(caught.value)


def test_the_client_that_goes_gives_up_the_build_that_nobody_else_waits_for(stage, program):
    command = f"echo begun-{uuid.uuid4().hex}; sleep 779"
    path = program("gone.py", PROGRAM.format(command=command))
    with leaving_nothing(stage), stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line and "echo" not in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        until(lambda: not running("sleep 779"), 20, "the step has ended")
        until(lambda: not list((stage.home / "layers").glob(".draft-*")), 20, "no draft")
