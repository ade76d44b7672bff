"""The page that says what of the reference is there says the truth."""
from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import click

from windlass.cli import __main__ as cli

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reference/parity.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \| (.*?) \|", re.MULTILINE)

WALK = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
from windlass import compat
compat.install()
for line in sys.stdin.read().splitlines():
    dotted, *members = line.split()
    *place, name = dotted.split(".")
    try:
        module = importlib.import_module(".".join(place))
        assert module.__name__.split(".")[0] == "windlass"
        exec(f"from {'.'.join(place)} import {name} as found")
        for member in members:
            annotated = any(member in getattr(one, "__annotations__", {}) for one in getattr(found, "__mro__", ()))
            assert annotated or hasattr(found, member), member
    except (ImportError, AttributeError, AssertionError) as exc:
        print(dotted, type(exc).__name__, exc)
"""


def rows(section: str) -> list[tuple[str, list[str], str]]:
    """Name, members that are there, and limits, of the rows below a heading."""
    text = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = ROW.findall(text)
    return [(name, re.findall(r"`([^`]+)`", members.split("; not there")[0]), notes) for name, members, notes in found]


def test_every_name_of_the_page_is_there_and_can_be_imported_from_modal():
    there = [(name, members) for name, members, notes in rows("Python") if notes != "not there"]
    assert len(there) > 130
    lines = "\n".join(" ".join([name, *members]) for name, members in there)
    walked = subprocess.run([sys.executable, "-c", WALK], input=lines, capture_output=True, text=True, check=True)
    assert walked.stdout == "", walked.stdout


def test_what_programs_call_with_aio_has_it():
    text = TEXT.split("\n## Asynchronous twins\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `modal\.([^`]+)` \| (.*) \|$", text, re.MULTILINE)
    assert len(found) > 25 and "~~" not in text
    for dotted, members in found:
        one = pkgutil.resolve_name(f"windlass:{dotted}")
        for name in re.findall(r"`([^`]+)`", members):
            twin = one if name == "()" else getattr(one, name)
            assert callable(getattr(twin, "aio", None)), f"{dotted}.{name}"


def test_every_command_of_the_page_is_there_with_its_options():
    for name, options, notes in rows("Commands"):
        if notes == "not there":
            continue
        found: click.Command | None = cli.root
        for word in name.split()[1:]:
            assert isinstance(found, click.Group)
            found = found.get_command(click.Context(found), word)
        assert found is not None, name
        known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
        assert set(options) <= known, name


def test_tests_that_the_page_names_exist():
    linked = set(re.findall(r"\]\(\.\./\.\./(tests/[^)]+)\)", TEXT))
    assert len(linked) > 30
    assert [path for path in linked if not (ROOT / path).exists()] == []
