"""What `windlass server trust --remove` takes back. Not from the machine's own store: a folder stands for it."""
from __future__ import annotations

import pytest

from windlass.cli import __main__ as cli
from windlass.cli import server


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Trusts the authority of a platform. ``updated`` is there when its store was made anew."""
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "tls").mkdir(parents=True)
    (tmp_path / "home" / "tls" / "authority.pem").write_text("ours")
    (tmp_path / "trusted.crt").write_text("ours")
    program = tmp_path / "update"
    program.write_text(f"#!/bin/sh\n[ -e {tmp_path}/full ] && echo disk full >&2 && exit 1\n: > {tmp_path}/updated\n")
    program.chmod(0o755)
    monkeypatch.setattr(server, "_TRUSTED", tmp_path / "trusted.crt")
    monkeypatch.setattr(server.shutil, "which", lambda name: str(program))
    monkeypatch.setattr(server.os, "geteuid", lambda: 0)
    return tmp_path


def test_the_authority_is_trusted_no_longer_and_a_second_time_there_is_nothing_to_do(machine, capsys):
    assert cli.execute(["server", "trust", "--remove"]) == 0
    assert not (machine / "trusted.crt").exists() and (machine / "updated").exists()
    assert (machine / "home" / "tls" / "authority.pem").exists(), "HTTPS goes on"
    (machine / "updated").unlink()
    assert cli.execute(["server", "trust", "--remove"]) == 0
    assert "trusts no authority" in capsys.readouterr().out and not (machine / "updated").exists()


def test_the_authority_of_another_platform_stays(machine, capsys):
    (machine / "trusted.crt").write_text("theirs")
    assert cli.execute(["server", "trust", "--remove"]) == 1
    assert "another platform" in capsys.readouterr().err
    assert (machine / "trusted.crt").exists() and not (machine / "updated").exists()


def test_who_is_not_root_is_told_what_to_do(machine, monkeypatch, capsys):
    monkeypatch.setattr(server.os, "geteuid", lambda: 1000)
    assert cli.execute(["server", "trust", "--remove"]) == 0
    assert "as root" in capsys.readouterr().out and (machine / "trusted.crt").exists()


def test_a_store_that_could_not_be_made_anew_is_an_error_with_what_was_said(machine, capsys):
    (machine / "full").touch()
    assert cli.execute(["server", "trust", "--remove"]) == 1
    assert "disk full" in capsys.readouterr().err
