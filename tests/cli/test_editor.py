"""What makes an image with code-server without GitHub. That it answers was seen by hand: it takes minutes."""
from __future__ import annotations

import shlex
import subprocess

from windlass.cli import __main__ as cli
from windlass.cli import editor


def test_its_steps_are_commands_of_a_shell_that_ask_the_registry_that_was_named():
    mirror = "https://npm.example/a mirror/"
    steps = editor.steps(mirror)
    for step in steps:
        subprocess.run(["sh", "-n", "-c", step], check=True)
        assert "github" not in step
    asking = [step for step in steps if "npm install" in step or "npm rebuild" in step]
    assert asking and all(f"npm_config_registry={mirror}" in shlex.split(step) for step in asking)


def test_there_is_one_way_to_have_it_at_a_time(tmp_path, capsys):
    (tmp_path / "code-server.deb").touch()
    assert cli.execute(["launch", "vscode", "--npm", "--code-server", str(tmp_path / "code-server.deb")]) == 2
    assert "choose one" in capsys.readouterr().err
