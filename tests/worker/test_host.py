"""The report of what a host can give; the probes themselves are tried in tests/container."""
from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from windlass.worker import host


def _found(monkeypatch: pytest.MonkeyPatch, *checks: host.Check) -> None:
    monkeypatch.setattr(host, "look", lambda home, worker=0: list(checks))


def test_a_missing_wall_does_not_keep_functions_from_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _found(monkeypatch, host._check("limit", False, host.PROTECTION, "memory is not limited", "Start as root."))
    assert host.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["remedy"] == "Start as root."


def test_what_functions_need_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _found(monkeypatch, host._check("nft", False, host.MUST, "not installed", "apt-get install nftables"))
    assert host.main([]) == 1
    assert "apt-get install nftables" in capsys.readouterr().out


def test_what_is_there_needs_no_remedy() -> None:
    assert host._check("nft", True, host.MUST, "/usr/sbin/nft", "apt-get install nftables")["remedy"] == ""


def test_looking_leaves_no_home_behind_that_was_not_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with host._scratch(home) as folder:
        assert folder.parent == home
    assert not home.exists()


def test_a_machine_is_looked_at_though_the_home_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tempfile.mkdtemp

    def refused(prefix: str, dir: Path | None = None) -> str:
        if dir is not None:
            raise PermissionError(13, "Permission denied", str(dir))
        return made(prefix=prefix, dir=tmp_path)

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    with host._scratch(tmp_path / "home") as folder:
        assert folder.is_dir() and folder.parent == tmp_path
    assert not folder.exists()


def test_what_a_user_is_told_to_do_for_limits_helps_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host, "_SYSTEMD", tmp_path)
    assert "loginctl enable-linger" in host._for_limits()
    monkeypatch.setattr(host, "_SYSTEMD", tmp_path / "none")
    assert "loginctl" not in host._for_limits() and "as root" in host._for_limits()
