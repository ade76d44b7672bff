"""What `--help` shows."""
from __future__ import annotations

import importlib

import click
import pytest

from windlass.cli import __main__ as root

GROUPS = [entry for entry in root.COMMANDS.values() if entry.attribute == "group"]


@pytest.mark.parametrize("entry", GROUPS, ids=[entry.module for entry in GROUPS])
def test_the_line_of_each_command_fits_a_terminal_of_80_columns(entry: root.Entry) -> None:
    group = getattr(importlib.import_module(entry.module), entry.attribute)
    assert isinstance(group, click.Group) and group.commands
    room = 80 - len("  ") - max(map(len, group.commands)) - len("  ")
    cut = [name for name, one in group.commands.items() if one.get_short_help_str(room - 2).endswith("...")]
    assert not cut, "begin the help of a command with a short sentence"
