"""What folders take: each file once, however deep and by whatever name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from windlass.worker.volumes import measuring


def _file(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def test_volumes_share_what_they_have_in_common_and_a_second_name_costs_nothing(tmp_path):
    _file(tmp_path / "vl-a/files/common", 1_000_000)
    _file(tmp_path / "vl-b/files/own", 500_000)
    (tmp_path / "vl-c/files").mkdir(parents=True)
    os.link(tmp_path / "vl-b/files/own", tmp_path / "vl-c/files/merged")
    measured, total = measuring.volumes(tmp_path, {"one": ["vl-a", "vl-b", "vl-c"], "two": ["vl-a"], "no": ["vl-x"]})
    assert 1_500_000 <= measured["one"]["size"] < 1_600_000 and 1_500_000 <= total < 1_600_000
    assert 1_000_000 <= measured["one"]["shared"] == measured["two"]["size"] == measured["two"]["shared"] < 1_100_000
    assert measured["no"] == {"size": 0, "shared": 0}
    assert measuring.layer(tmp_path / "vl-c") < 50_000, "its file has another name"
    assert measuring.layer(tmp_path / "vl-a") >= 1_000_000


def test_depth_and_links_of_whoever_wrote_the_files_lead_nowhere(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):  # deeper than a path may be long
        os.mkdir("deep-name", dir_fd=here)
        inner = os.open("deep-name", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    _file(tmp_path / "file", 10)
    os.link(tmp_path / "file", tmp_path / "again")
    (tmp_path / "up").symlink_to("/usr")
    assert measuring.shown(tmp_path) == (1, 10)
    assert measuring.shown(tmp_path / "up") == (0, 0) and measuring.shown(tmp_path / "none") == (0, 0)
    assert measuring.whole(tmp_path) > 0
    subprocess.run(["rm", "-rf", tmp_path / "deep-name"], check=True)
