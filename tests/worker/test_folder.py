"""Folders of containers on the disk."""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from windlass.worker import folder

_GET_FLAGS, _TOP_FOLDER = 0x80086601, 0x20000


def _flags(path: Path) -> int:
    buffer = bytearray(8)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, buffer)
    finally:
        os.close(descriptor)
    return int.from_bytes(buffer, sys.byteorder)


def test_what_is_in_a_parted_folder_lies_apart_on_ext4(tmp_path: Path) -> None:
    mounts = sorted((line.split() for line in Path("/proc/mounts").read_text().splitlines()), key=lambda m: len(m[1]))
    if [kind for _, place, kind, *_ in mounts if tmp_path.is_relative_to(place)][-1] != "ext4":
        pytest.skip("needs ext4")
    before = _flags(tmp_path)
    folder.part(tmp_path)
    assert _flags(tmp_path) == before | _TOP_FOLDER
    (tmp_path / "inside").mkdir()
    assert not _flags(tmp_path / "inside") & _TOP_FOLDER, "the files of one container stay together"


def test_where_folders_cannot_lie_apart_nothing_happens(tmp_path: Path) -> None:
    folder.part(Path("/proc/self"))
    folder.part(tmp_path / "nothing")


def test_a_process_is_ending_from_its_exit_on_and_another_of_its_number_is_not_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = folder.start_time(process.pid)
    assert not folder.is_ending(process.pid, started)
    assert folder.is_ending(process.pid, started + 1)
    process.communicate(b"\n")
    assert folder.is_ending(process.pid, started)
