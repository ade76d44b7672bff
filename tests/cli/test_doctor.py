"""What the doctor concludes, apart from what a machine really grants."""

from __future__ import annotations

import json
import subprocess

from click import testing

from windlass.cli import doctor


def test_a_machine_that_could_not_be_examined_is_not_said_to_be_able(tmp_path, monkeypatch):
    def late(argv, **how):
        raise subprocess.TimeoutExpired(argv, how["timeout"])

    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", late)
    shown = testing.CliRunner().invoke(doctor.command, [])
    assert shown.exit_code == 1 and "could not be found out" in shown.output and "can run on" in shown.output
    data = testing.CliRunner().invoke(doctor.command, ["--json"])
    assert data.exit_code == 1 and json.loads(data.output)["able"] is False
    assert json.loads(data.output)["findings"][-1]["state"] == "unknown"
