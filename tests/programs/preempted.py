"""Functions that are interrupted, or do not want to go on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import windlass
from windlass import experimental

app = windlass.App("test-preempted")


@app.function(max_containers=1)
def interrupted(place: str) -> tuple[str, str]:
    """The first container is preempted while it works."""
    here = os.environ["WINDLASS_TASK_ID"]
    seen = windlass.current_input_id()
    if tried.remote(place, here) < 4:
        windlass.exception.simulate_preemption(1)
        time.sleep(60)
    return here, seen or ""


@app.function(min_containers=1, max_containers=1)
def tried(place: str, who: str) -> int:
    """How many containers have begun this. Kept in the file system of the only container of this function."""
    file = Path("/tmp") / place
    with file.open("a") as out:
        out.write(who + "\n")
    return len(file.read_text().splitlines())


@app.function(max_containers=1)
def once(x: int) -> tuple[int, str]:
    experimental.stop_fetching_inputs()
    return x, os.environ["WINDLASS_TASK_ID"]
