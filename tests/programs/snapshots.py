"""Functions whose containers are forked from memory snapshots."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import windlass

app = windlass.App("test-snapshots")
IMPORTED_BY = os.environ.get("MODAL_TASK_ID")


@app.cls(enable_memory_snapshot=True, scaledown_window=2)
class Warm:
    @windlass.enter(snap=True)
    def warm(self) -> None:
        time.sleep(1.5)
        self.warmed_at = time.time()
        self.warmed_by = os.environ["MODAL_TASK_ID"]
        Path("/root/weights").write_text("made before the snapshot")

    @windlass.enter()
    def wake(self) -> None:
        self.woken_by = os.environ["MODAL_TASK_ID"]

    @windlass.method()
    def look(self, seconds: float = 0) -> dict[str, Any]:
        time.sleep(seconds)
        print("hello from the fork")
        return {
            "warmed_at": self.warmed_at, "warmed_by": self.warmed_by, "woken_by": self.woken_by,
            "task": os.environ["MODAL_TASK_ID"], "weights": Path("/root/weights").read_text(),
        }  # fmt: skip
