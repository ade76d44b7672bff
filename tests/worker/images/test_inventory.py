"""What is installed is read from the layers of an image, later ones over earlier ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass.worker.images import inventory, pins

STATUS = """\
Package: curl
Status: install ok installed
Version: 7.88.1-10

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: libc6
Status: install ok installed
Version: 2.36-9
Description: the library
 Package: not-one
"""


def installed(layer: Path, site: str, name: str, version: str) -> Path:
    folder = layer / site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n")
    return folder


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for layer in made:
        layer.mkdir()
    return made


def test_packages_of_debian_are_those_that_are_installed(layers: list[Path]) -> None:
    (layers[0] / "var/lib/dpkg").mkdir(parents=True)
    (layers[0] / "var/lib/dpkg/status").write_text(STATUS)
    assert inventory.read(layers)["debian"] == {"curl": "7.88.1-10", "libc6": "2.36-9"}
    (layers[1] / "var/lib/dpkg").mkdir(parents=True)
    (layers[1] / "var/lib/dpkg/status").write_text(STATUS.replace("7.88.1-10", "8"))
    assert inventory.read(layers)["debian"]["curl"] == "8"


def test_distributions_are_found_wherever_python_keeps_them(layers: list[Path]) -> None:
    installed(layers[0], "usr/local/lib/python3.11/site-packages", "Ruamel.Yaml", "0.18")
    installed(layers[0], "usr/lib/python3/dist-packages", "six", "1.16")
    installed(layers[1], ".uv/.venv/lib/python3.12/site-packages", "idna", "3.7")
    egg = layers[1] / "opt/x/lib/python3.11/site-packages/old.egg-info"
    egg.parent.mkdir(parents=True)
    egg.write_text("Metadata-Version: 1.0\nName: old\nVersion: 0.1\n")
    assert inventory.read(layers)["python"] == {"idna": "3.7", "old": "0.1", "ruamel-yaml": "0.18", "six": "1.16"}


@pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are devices")
def test_what_a_later_layer_took_away_is_not_installed(layers: list[Path]) -> None:
    site = "usr/local/lib/python3.11/site-packages"
    old = installed(layers[0], site, "six", "1.15")
    installed(layers[1], site, "six", "1.16")
    os.mknod(layers[1] / site / old.name, 0o600 | 0o020000, os.makedev(0, 0))
    assert inventory.read(layers)["python"] == {"six": "1.16"}


def test_pins_are_words_for_pip_uv_and_apt(tmp_path: Path) -> None:
    pins.write(tmp_path, {"debian": {"curl": "7.88"}, "python": {"six": "1.16", "pip": "23"}}, apt=["Acquire::X 1;"])
    assert (tmp_path / "constraints.txt").read_text() == "six==1.16\n"
    assert "Package: curl\nPin: version 7.88\nPin-Priority: 1001" in (tmp_path / "preferences").read_text()
    assert (tmp_path / "apt.conf").read_text().startswith("Acquire::X 1;\n")
