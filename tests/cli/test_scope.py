"""The group of control groups that a user's platform is started in, where systemd gives one that outlives logins."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from windlass.cli import control, scope

USER = pwd.getpwuid(os.getuid()).pw_name
COMMAND = ["python", "-m", "it"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One whose systemd lingers for this user, who is not root."""
    for file in (f"var/lib/systemd/linger/{USER}", f"run/user/{os.getuid()}/systemd/private"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tmp_path


def test_a_user_whose_systemd_lingers_gets_a_delegated_group_also_after_su(machine):
    line = scope.around(COMMAND, machine=machine)
    assert line[-4:] == ["--", *COMMAND]
    assert line[:3] == ["env", f"XDG_RUNTIME_DIR={machine}/run/user/{os.getuid()}", "systemd-run"]
    assert {"--user", "--scope", "--property=Delegate=yes"} <= set(line)


def test_root_and_users_whose_systemd_ends_with_their_login_get_none(machine, monkeypatch):
    with monkeypatch.context() as root:
        root.setattr(os, "geteuid", lambda: 0)
        assert scope.around(COMMAND, machine=machine) == COMMAND
    (machine / f"var/lib/systemd/linger/{USER}").unlink()
    assert scope.around(COMMAND, machine=machine) == COMMAND


def test_a_platform_starts_without_a_group_where_systemd_refuses_one(tmp_path, monkeypatch):
    tried = []

    def run(argv, **how):
        tried.append(argv)
        return subprocess.CompletedProcess(argv, int("refused" in argv), "", "no")

    monkeypatch.setattr(scope, "around", lambda argv: ["refused", *argv])
    monkeypatch.setattr(subprocess, "run", run)
    control._launch(tmp_path)
    assert tried == [["refused", *tried[1]], tried[1]]
