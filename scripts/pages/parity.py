"""Makes docs/reference/parity.md from the reference's names, the package as it is, the limits, and the tests."""
from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import click
import limits

from windlass.cli import __main__ as cli

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/parity.md"
MOST_TESTS = 3

HEAD = """\
# Parity

What Modal's public Python API and command line consist of, and what of it Windlass has. Made by `scripts/parity` from
the names of the reference (client 1.6), from this package and from its tests; do not edit it. `import modal` gives the
names as they stand here, in what `windlass run`, `deploy` and `serve` run; `import windlass` gives the same ones.

"""


class Entry(NamedTuple):
    name: str
    present: list[str]
    missing: list[str]
    notes: list[str]
    tests: list[str]


def find(dotted: str) -> Any:
    """What the package has under the reference's name. Raises ``LookupError``."""
    parts = dotted.split(".")[1:]
    for cut in range(len(parts), -1, -1):
        try:
            found: Any = importlib.import_module(".".join(["windlass", *parts[:cut]]))
            for name in parts[cut:]:
                found = getattr(found, name)
        except (ImportError, AttributeError):
            continue
        return found
    raise LookupError(dotted)


def has(owner: Any, name: str) -> bool:
    annotated = any(name in getattr(one, "__annotations__", {}) for one in getattr(owner, "__mro__", ()))
    return annotated or hasattr(owner, name)


def lacks(found: Any, parameters: list[list[str]]) -> list[str]:
    """Parameters that the reference has and this does not."""
    try:
        mine = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return []
    return [name for name, kind, _ in parameters if name not in mine and kind not in ("var_pos", "var_kw")]


def noun(dotted: str, ref: dict[str, Any], sources: dict[str, str]) -> Entry:
    members = sorted(set(ref.get("members", {})) - {"__init__"}) if ref["kind"] == "class" else []
    try:
        found = find(dotted)
    except LookupError:
        return Entry(dotted, [], members, ["not there"], [])
    present = [name for name in members if has(found, name)]
    notes = [limits.LIMITS[dotted]] if dotted in limits.LIMITS else []
    for name in present:
        note = limits.DASHBOARD if name == "get_dashboard_url" else limits.LIMITS.get(f"{dotted}.{name}")
        if note is None and refuses(getattr(found, name, None)):
            note = "`UnimplementedError` in this release"
        if note:
            notes.append(f"`{name}`: {note}")
    notes += later(dotted)
    checked = {"": (found, ref)} | {name: (getattr(found, name, None), ref["members"][name]) for name in present}
    for name, (one, of) in checked.items():
        if of.get("params") and (absent := lacks(one, of["params"])):
            notes.append(f"`{name or dotted}` without {', '.join(f'`{word}`' for word in absent)}")
    return Entry(dotted, present, [name for name in members if name not in present], notes, proofs(dotted, sources))


def refuses(found: Any) -> bool:
    """Whether all that it does is to say that this release does not have it."""
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(found))))
    except (TypeError, OSError, SyntaxError):
        return False
    body = source.body[0].body if isinstance(source.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    doing = [one for one in body if not isinstance(one, (ast.Expr, ast.Import, ast.ImportFrom))]
    first = ast.unparse(doing[0]) if doing else ""
    return first.startswith("raise ") and ("UnimplementedError" in first or "_later(" in first)


def later(dotted: str) -> list[str]:
    """Parameters that are known, and refused because this release has nothing to serve them with."""
    place = {"modal.App": "options", "modal.Sandbox": "sandbox_options"}.get(dotted)
    home = vars(importlib.import_module(f"windlass.{place}")) if place else {}
    known = home.get("LATER") or home.get("_LATER") or {}
    return [f"`{name}=`: `UnimplementedError`" for name in known]


def proofs(dotted: str, sources: dict[str, str]) -> list[str]:
    """The test files that name it most."""
    *place, name = dotted.split(".")
    word = re.compile(rf"\b(?:windlass|modal|{place[-1]})\.{name}\b|\bimport [\w, ]*\b{name}\b")
    counted = sorted(((-len(word.findall(text)), path) for path, text in sources.items()), key=lambda one: one)
    return [path for count, path in counted if count][:MOST_TESTS]


def command(path: str, ref: dict[str, Any]) -> Entry:
    found: click.Command | None = cli.root
    for word in [] if path == "(root)" else path.split():
        found = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
        if found is None:
            return Entry(path, [], [], ["not there"], [])
    assert found is not None
    known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
    absent = [
        "/".join(one["opts"]) for one in ref["params"] if one["kind"] != "argument" and not known & set(one["opts"])
    ]
    present = sorted({one.opts[0] for one in found.params if one.opts[0].startswith("-")})
    notes = [limits.LIMITS[path]] if path in limits.LIMITS else []
    return Entry(path, present, absent, notes, [])


def page(names: Path) -> str:
    sources = {
        str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py"))
    }
    later = json.loads((names / "sdk_later.json").read_text())
    reference = json.loads((names / "sdk.json").read_text())
    for dotted, ref in later.items():
        known = reference.setdefault(dotted, ref)
        if ref["kind"] == "class" == known["kind"]:
            known["members"] = {**ref.get("members", {}), **known.get("members", {})}
    nouns = [noun(dotted, ref, sources) for dotted, ref in sorted(reference.items())]
    commands = [command(path, ref) for path, ref in sorted(json.loads((names / "cli.json").read_text()).items())]
    return HEAD + _summary(nouns, commands) + _sdk(nouns) + _async(reference) + _commands(commands)


def _summary(nouns: list[Entry], commands: list[Entry]) -> str:
    there = [one for one in nouns if "not there" not in one.notes]
    of = sum(1 + len(one.present) + len(one.missing) for one in nouns)
    have = sum(1 + len(one.present) for one in there)
    found = sum("not there" not in one.notes for one in commands)
    return (
        f"There are {have} of {of} names of the Python API and {found} of {len(commands)} commands. "
        "An empty cell under *limits* means\n"
        "that it does what the reference says; what no test names is tested by way of what returns it.\n"
    )


def _sdk(nouns: list[Entry]) -> str:
    lines = ["\n## Python\n\n| name | members | limits | tests that name it |\n|---|---|---|---|\n"]
    for one in nouns:
        lines.append(f"| `{one.name}` | {_members(one)} | {'; '.join(one.notes)} | {_links(one)} |\n")
    return "".join(lines)


def _async(reference: dict[str, Any]) -> str:
    """What has a twin ``.aio`` in the reference: with it here, or crossed out."""
    lines = ["\n## Asynchronous twins\n\n", "What is called with `.aio` in asynchronous programs.\n\n"]
    lines.append("| name | members with `.aio` |\n|---|---|\n")
    for dotted, ref in sorted(reference.items()):
        of = {name: one for name, one in {"": ref, **ref.get("members", {})}.items() if one.get("aio")}
        try:
            found = find(dotted)
        except LookupError:
            continue
        there = [name for name in sorted(of) if hasattr(getattr(found, name) if name else found, "aio")]
        entry = Entry(dotted, [name or "()" for name in there], sorted(set(of) - set(there)), [], [])
        if of:
            lines.append(f"| `{dotted}` | {_members(entry)} |\n")
    return "".join(lines)


def _members(one: Entry) -> str:
    present = ", ".join(f"`{name}`" for name in one.present)
    missing = ", ".join(f"~~{name}~~" for name in one.missing)
    return "; not there: ".join(filter(None, (present, missing))) if present else missing


def _links(one: Entry) -> str:
    return ", ".join(f"[{Path(path).stem.removeprefix('test_')}](../../{path})" for path in one.tests)


def _commands(commands: list[Entry]) -> str:
    lines = ["\n## Commands\n\n| command | options | limits |\n|---|---|---|\n"]
    for one in commands:
        name = "windlass" if one.name == "(root)" else f"windlass {one.name}"
        lines.append(f"| `{name}` | {_members(one)} | {'; '.join(one.notes)} |\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", type=Path, help="the folder with sdk.json, sdk_later.json and cli.json")
    warnings.simplefilter("ignore")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(parser.parse_args().names))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
