"""The Python of a stack of layers, without starting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass.worker.images import python

PATH = "/usr/local/bin:/usr/bin"


def put(layer: Path, name: str, data: bytes = b"\x7fELF", mode: int = 0o755) -> None:
    path = layer / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def link(layer: Path, name: str, target: str) -> None:
    (layer / name).parent.mkdir(parents=True, exist_ok=True)
    (layer / name).symlink_to(target)


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """A Debian's Python at the bottom, and an empty layer."""
    bottom, top = tmp_path / "bottom", tmp_path / "top"
    top.mkdir()
    put(bottom, "usr/bin/python3.11")
    link(bottom, "usr/bin/python3", "python3.11")
    return [bottom, top]


def test_the_program_that_a_link_leads_to_names_its_version(layers: list[Path]) -> None:
    assert python.find(layers, PATH) == ("python3", "3.11")


def test_a_later_layer_earlier_in_the_path_wins(layers: list[Path]) -> None:
    put(layers[1], "usr/local/bin/python3.14t")
    link(layers[1], "usr/local/bin/python3", "/usr/local/bin/python3.14t")
    assert python.find(layers, PATH) == ("python3", "3.14t")
    assert python.find(layers, "/usr/bin") == ("python3", "3.11")


def test_an_image_may_have_python_under_that_name_only(tmp_path: Path) -> None:
    put(tmp_path, "opt/bin/python2.7")
    link(tmp_path, "opt/bin/python", "python2.7")
    assert python.find([tmp_path], "relative::/opt/bin") == ("python", "2.7")


def test_what_the_container_could_not_start_does_not_count(layers: list[Path]) -> None:
    put(layers[1], "usr/local/bin/python3", mode=0o644)
    (layers[1] / "usr/bin").mkdir(parents=True)
    link(layers[1], "usr/local/bin/python", "gone")
    assert python.find(layers, PATH) == ("python3", "3.11")
    assert python.find(layers, "/usr/local/bin") == ("", "")


def test_no_link_leads_out_of_the_image(tmp_path: Path) -> None:
    link(tmp_path, "usr/bin/python3", "/../../../../usr/bin/env")
    link(tmp_path, "usr/bin/python", "python")
    assert python.find([tmp_path], PATH) == ("", "")


def test_a_copied_virtual_environment_says_its_version_in_its_settings(tmp_path: Path) -> None:
    for text in ("home = /usr/bin\nversion = 3.12.4\n", "version_info = 3.12.4.final.0\n"):
        put(tmp_path, "venv/bin/python3")
        put(tmp_path, "venv/pyvenv.cfg", text.encode())
        assert python.find([tmp_path], "/venv/bin") == ("python3", "3.12")


def test_the_standard_library_beside_tells_the_version_if_there_is_one(tmp_path: Path) -> None:
    put(tmp_path, "opt/bin/python3")
    put(tmp_path, "opt/lib/python3.11/dist-packages/x.py")
    assert python.find([tmp_path], "/opt/bin").version == ""
    put(tmp_path, "opt/lib/python3.13/os.py")
    assert python.find([tmp_path], "/opt/bin").version == "3.13"
    put(tmp_path, "opt/lib/python3.12/os.py")
    assert python.find([tmp_path], "/opt/bin").version == ""


def test_a_script_has_to_be_asked(tmp_path: Path) -> None:
    put(tmp_path, "usr/bin/python3", b"#!/bin/sh\nexec something\n")
    put(tmp_path, "usr/lib/python3.12/os.py")
    assert python.find([tmp_path], PATH) == ("python3", "")


def test_the_question_is_understood_by_every_python() -> None:
    import subprocess
    import sys

    said = subprocess.run([sys.executable, "-c", python.ASK], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Python {sys.version_info[0]}.{sys.version_info[1]}")
