"""Where the base comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import base, sources

DEB822 = """
Types: deb
# a comment
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""

ONE_LINE = """
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/keys/other.gpg] https://packages.example/apt stable-tools main
deb [signed-by=/keys/debian.gpg] http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb-src http://mirror.example/debian bookworm main
"""


UBUNTU = """
deb http://mirror.example/ubuntu noble main universe
deb http://mirror.example/ubuntu noble-updates main universe
deb http://security.example/ubuntu noble-security main universe
"""


def debian(text: str) -> sources.Mirror:
    return sources.mirrors([text])[0]


@pytest.mark.parametrize("text", [DEB822, ONE_LINE])
def test_the_machines_mirror_is_found_in_both_formats(text: str) -> None:
    found = debian(text)
    assert found[1:] == ("http://mirror.example/debian", "http://mirror.example/debian-security", "/keys/debian.gpg")


def test_a_machine_without_debian_sources_takes_debians_own_mirror() -> None:
    found = debian(UBUNTU)
    assert found.main.endswith("/debian") and found.security.endswith("/debian-security")


def test_a_disabled_source_does_not_count() -> None:
    assert "mirror.example" not in debian(DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n")).main


def test_a_python_that_no_release_ships_says_what_is_possible() -> None:
    with pytest.raises(exception.ImageBuildError, match=r"3\.12.*3\.11 \(bookworm\), 3\.13 \(trixie\)"):
        base.release("3.12", sources.mirrors([DEB822]))


def test_a_machine_that_runs_ubuntu_also_has_ubuntus_pythons() -> None:
    found = base.release("3.12", sources.mirrors([UBUNTU]))
    assert (found.suite, found.mirror.main) == ("noble", "http://mirror.example/ubuntu")
    assert ("http://security.example/ubuntu", "noble-security") in found.mirror.entries(found.suite)
    assert "Components: main universe" in base.finishing(found, uv=Path("/uv"))
    assert base.release("3.11", sources.mirrors([UBUNTU])).suite == "bookworm"


def test_the_same_mirror_serves_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    release = base.release("3.13", sources.mirrors([DEB822]))
    line = base.command(tmp_path, release, options=Path("/o"), finish=Path("/f"))
    assert "deb [signed-by=/keys/debian.gpg] http://mirror.example/debian trixie main" in line
    assert "deb [signed-by=/keys/debian.gpg] http://mirror.example/debian-security trixie-security main" in line
    assert "--aptopt=/o" in line and "--customize-hook=/f" in line


def test_the_base_names_the_public_archives_whatever_mirror_it_came_from() -> None:
    text = base.finishing(base.release("3.11", sources.mirrors([DEB822])), uv=Path("/uv"))
    assert text.startswith("#!/bin/sh -e\n")
    assert "URIs: http://deb.debian.org/debian\nSuites: bookworm\n" in text and "mirror.example" not in text
    assert "EXTERNALLY-MANAGED" in text
