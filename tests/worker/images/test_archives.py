"""This machine's package archives in the place of the public ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import archives, cache, sources

MACHINE = "deb http://own.example/debian bookworm main\ndeb http://own.example/sec bookworm-security main\n"
IMAGE = """Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://deb.debian.org/debian-security/
Suites: bookworm-security
Components: main
"""
ONE_LINE = (
    "deb https://deb.debian.org/debian bookworm main\n"
    "deb [signed-by=/x] https://packages.example/apt stable main\n"
    "deb http://security.debian.org/debian-security bookworm-security main\n"
)


def test_the_machines_mirror_stands_in_for_the_public_archives_in_both_formats() -> None:
    mirrors = sources.mirrors([MACHINE])
    seen = archives.rewritten(IMAGE, mirrors)
    assert "URIs: http://own.example/debian\n" in seen and "URIs: http://own.example/sec\n" in seen
    assert archives.rewritten(ONE_LINE, mirrors).splitlines() == [
        "deb http://own.example/debian bookworm main",
        "deb [signed-by=/x] https://packages.example/apt stable main",
        "deb http://own.example/sec bookworm-security main",
    ]


def test_a_machine_that_uses_the_public_archives_changes_nothing() -> None:
    public = "http://deb.debian.org/debian"
    text = f"deb {public} bookworm main\ndeb {public}-security bookworm-security main"
    assert archives.rewritten(IMAGE, sources.mirrors([text])) == IMAGE
    assert archives.rewritten(IMAGE, sources.mirrors([])) == IMAGE


def test_an_archive_that_the_mirror_lacks_is_left_out() -> None:
    mirrors = sources.mirrors(["deb http://own.example/debian bookworm main\n"])
    seen = archives.rewritten(IMAGE, mirrors)
    assert seen.count("Types:") == 1 and "security" not in seen and seen.endswith("main\n")
    assert len(archives.rewritten(ONE_LINE, mirrors).splitlines()) == 2


def test_windlass_own_mirror_wins() -> None:
    (mirror,) = archives.machine({"WINDLASS_APT_MIRROR": "https://me:pw@m.example/debian/"}, [MACHINE])
    assert (mirror.main, mirror.security) == ("https://me:pw@m.example/debian", "https://me:pw@m.example/debian-security")
    (mirror,) = archives.machine({"WINDLASS_APT_MIRROR": "https://m.example/a https://m.example/b"}, [MACHINE])
    assert (mirror.main, mirror.security) == ("https://m.example/a", "https://m.example/b")
    with pytest.raises(exception.InvalidError, match="WINDLASS_APT_MIRROR"):
        archives.machine({"WINDLASS_APT_MIRROR": "m.example"}, [])


def test_passwords_go_to_apts_own_file_only(tmp_path: Path) -> None:
    (tmp_path / "auth.conf.d").mkdir()
    (tmp_path / "auth.conf.d/mine.conf").write_text("machine else.example login a password b\n")
    mirrors = archives.machine({"WINDLASS_APT_MIRROR": "https://me:p%40w@m.example/debian"}, [])
    assert archives.passwords(mirrors, tmp_path).splitlines() == [
        "machine else.example login a password b",
        "machine https://m.example/debian login me password p@w",
        "machine https://m.example/debian-security login me password p@w",
    ]
    assert "p%40w" not in str(archives.opened(mirrors[0]))
    assert "p%40w" not in archives.rewritten(IMAGE, mirrors)


def test_the_layer_for_a_step_is_made_only_where_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    image = tmp_path / "image"
    (image / "etc/apt/sources.list.d").mkdir(parents=True)
    (image / "etc/apt/sources.list.d/debian.sources").write_text(IMAGE)
    assert archives.layer([image], sources.mirrors([]), tmp_path / "a") == []
    (folder,) = archives.layer([image], sources.mirrors([MACHINE]), tmp_path / "b")
    assert "own.example" in (folder / "etc/apt/sources.list.d/debian.sources").read_text()
    assert not (folder / "etc/apt/sources.list").exists()
