"""Where buckets are mounted in the node, and what a machine must have for it."""

from __future__ import annotations

import json
import os

import pytest

from windlass import exception
from windlass.worker import folder as folders
from windlass.worker import programs
from windlass.worker.buckets import processes, service
from windlass.worker.images import relay


def test_a_machine_without_the_program_says_which_package_brings_it(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "FOLDERS", (str(tmp_path),))
    with pytest.raises(exception.ExecutionError, match="rclone is not installed") as missed:
        service.check()
    assert "apt-get install rclone" in missed.value.hint


def test_a_machine_without_fuse_says_so(monkeypatch, tmp_path):
    (tmp_path / "rclone").touch()
    monkeypatch.setattr(programs, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(processes, "FUSE", tmp_path / "fuse")
    with pytest.raises(exception.ExecutionError, match="may not be opened") as missed:
        service.check()
    assert "chmod 666" in missed.value.hint
    (tmp_path / "fuse").touch()
    service.check()


def test_what_no_living_container_has_is_cleared_and_no_file_is_ever_removed(tmp_path):
    root = tmp_path / "buckets"
    for name in ("ta-dead-0", "ta-alive-0", "ta-stuck-0"):
        (root / name).mkdir(parents=True)
    (root / "ta-stuck-0" / "object").touch()  # as if it were still mounted
    service.Buckets(tmp_path, relay.Relays(lambda family: None, needed=False), None).retain(["ta-alive"])
    assert sorted(os.listdir(root)) == ["ta-alive-0", "ta-stuck-0"]
    assert (root / "ta-stuck-0" / "object").exists()


def test_what_an_older_worker_noted_of_a_bucket_is_read(tmp_path):
    folder = folders.Folder(tmp_path, "ta-1")
    folder.path.mkdir(parents=True)
    old = {"pid": 1, "started": 2, "endpoint": "http://127.0.0.1:9000"}
    (folder.path / "buckets.json").write_text(json.dumps([old]))
    [one] = processes.kept(folder)
    assert one["fence"] == {"name": "", "blocked": False, "places": [("127.0.0.1", 9000)]}
