"""The unit of systemd: what systemd itself accepts, and nothing that would keep the node from being made."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from pathlib import Path

import pytest
from click import testing

from windlass import exception, paths
from windlass.cli import control, server, unit

_BREAKS = {
    "NoNewPrivileges", "RestrictNamespaces", "PrivateUsers", "PrivateDevices", "PrivateTmp", "ProtectKernelLogs",
    "ProtectKernelTunables", "ProtectControlGroups", "ProtectProc", "ProcSubset", "ProtectHostname", "ProtectClock",
    "RestrictSUIDSGID", "SystemCallFilter", "SystemCallArchitectures", "MemoryDenyWriteExecute", "LockPersonality",
    "RestrictRealtime", "CapabilityBoundingSet", "OOMScoreAdjust", "DevicePolicy",
}  # fmt: skip


class _Every(dict):
    """Keys may come twice in a unit."""

    def __setitem__(self, key, value):
        if key in self and isinstance(value, list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def parsed(text: str) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=False, dict_type=_Every, delimiters="=", comment_prefixes="#")
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("home", ["/var/lib/windlass", "/srv/a place/50% windlass"])
def test_systemd_accepts_it_and_it_runs_this_installation_with_its_control_groups_delegated(home, user):
    text = unit.text(Path(home), user=user)
    if shutil.which("systemd-analyze"):
        assert unit.check(text) == []
        assert unit.check(text.replace("Restart=on-failure", "Restart=perhaps"))  # the check can fail
    service = parsed(text)["Service"]
    assert service["ExecStart"].startswith(f"{sys.executable} -m windlass.cli.supervisor --foreground --home ")
    assert (service["Delegate"], service["KillMode"], service["OOMPolicy"]) == ("yes", "mixed", "continue")
    assert not _BREAKS & set(service)
    assert parsed(text)["Install"]["WantedBy"] == ("default.target" if user else "multi-user.target")
    assert ("ProtectSystem" in service) is not user


def test_paths_that_a_unit_cannot_hold_are_refused():
    with pytest.raises(exception.InvalidError, match="cannot name"):
        unit.text(Path('/srv/"quoted"'), user=False)


def test_each_home_has_a_unit_of_its_own_and_print_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    assert unit.name(tmp_path) != unit.name(tmp_path / "other") != "windlass.service"
    monkeypatch.delenv("WINDLASS_HOME")
    assert unit.name(paths.home()) == "windlass.service"
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    shown = testing.CliRunner().invoke(server.group, ["install", "--print"])
    assert shown.exit_code == 0 and shown.output == unit.text(tmp_path, user=False) and not list(tmp_path.iterdir())


def test_a_machine_without_systemd_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    done = testing.CliRunner().invoke(server.group, ["install", "--user"])
    assert isinstance(done.exception, exception.ExecutionError) and "--print" in done.exception.hint
    done = testing.CliRunner().invoke(server.group, ["uninstall", "--user"])
    assert isinstance(done.exception, exception.NotFoundError)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The home of a platform whose user has made it a service; what systemctl is told comes in the list."""
    told: list[tuple[bool, ...]] = []
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(unit, "_need_systemd", lambda user: None)
    monkeypatch.setattr(unit, "_systemctl", lambda *words: told.append(words))
    place = tmp_path / "config/systemd/user" / unit.name(tmp_path)
    place.parent.mkdir(parents=True)
    place.touch()
    return tmp_path, told


def test_commands_start_and_stop_a_service_by_systemd_and_by_hand_where_it_does_not(installed, monkeypatch):
    home, told = installed
    assert unit.begin(home) and unit.end(home)
    assert told == [(True, word, unit.name(home)) for word in ("start", "stop")]

    def refuse(*words):
        raise exception.ExecutionError("no bus")

    monkeypatch.setattr(unit, "_systemctl", refuse)
    assert not unit.begin(home)


def test_a_platform_that_is_no_service_is_none_of_systemds_business(installed):
    home, told = installed
    assert not unit.begin(home / "other") and not unit.end(home / "other") and told == []


def test_the_first_command_starts_the_service_and_nothing_beside_it(installed, monkeypatch):
    home, told = installed
    monkeypatch.setattr(control, "_run", lambda argv, root: pytest.fail("started by hand"))
    control._launch(home)
    assert [words[1] for words in told] == ["start"]
