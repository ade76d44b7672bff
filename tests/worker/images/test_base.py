"""Where the base comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import base

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


@pytest.mark.parametrize("text", [DEB822, ONE_LINE])
def test_the_machines_mirror_is_found_in_both_formats(text: str) -> None:
    found = base.mirror([text])
    assert found == ("http://mirror.example/debian", "http://mirror.example/debian-security", "/keys/debian.gpg")


def test_a_machine_without_debian_sources_takes_debians_own_mirror() -> None:
    found = base.mirror(["deb http://archive.example/ubuntu noble main"])
    assert found.main.endswith("/debian") and found.security.endswith("/debian-security")


def test_a_disabled_source_does_not_count() -> None:
    assert "mirror.example" not in base.mirror([DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n")]).main


def test_a_python_that_no_release_ships_says_what_is_possible() -> None:
    with pytest.raises(exception.ImageBuildError, match=r"3\.12.*3\.11 \(bookworm\), 3\.13 \(trixie\)"):
        base.suite("3.12")


def test_the_same_mirror_serves_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    line = base.command(tmp_path, "3.13", mirror=base.mirror([DEB822]), apt=['A::B "c";'], finish=Path("/f"))
    assert "deb [signed-by=/keys/debian.gpg] http://mirror.example/debian trixie main" in line
    assert "deb [signed-by=/keys/debian.gpg] http://mirror.example/debian-security trixie-security main" in line
    assert '--aptopt=A::B "c"' in line and "--customize-hook=/f" in line


def test_the_finishing_program_writes_sources_for_later_steps() -> None:
    text = base.finishing("3.11", mirror=base.mirror([DEB822]), uv=Path("/uv"))
    assert text.startswith("#!/bin/sh -e\n")
    assert "URIs: http://mirror.example/debian\nSuites: bookworm\n" in text
    assert "EXTERNALLY-MANAGED" in text
