"""Logs of programs stay small while the programs live, and their last words are in the newest file."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import logging, pathlib, sys
from windlass.kit import rotation
rotation._MOST = 2000
rotation.log_to(pathlib.Path(sys.argv[1]))
for number in range(200):
    logging.info("line %d", number)
print("last words", flush=True)
raise SystemExit("the end")
"""


def test_a_log_begins_anew_while_its_program_lives_and_what_is_printed_goes_along(tmp_path):
    path = tmp_path / "log" / "worker.log"
    path.parent.mkdir()
    with path.open("ab") as file:
        subprocess.run([sys.executable, "-c", _PROGRAM, str(path)], stdout=file, stderr=file, check=False)
    sizes = {one.name: one.stat().st_size for one in path.parent.iterdir()}
    assert set(sizes) == {"worker.log", "worker.log.1", "worker.log.2", "worker.log.3"} and max(sizes.values()) < 2500
    assert path.read_text().endswith("line 199\nlast words\nthe end\n")
