"""Makes docs/reference/*.md from the docstrings of the public modules and the help of the commands."""
from __future__ import annotations

import importlib
import inspect
import re
import textwrap
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import windlass
from windlass.cli import __main__ as cli

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/reference"
MADE = "<!-- made by scripts/reference from docstrings; do not edit -->\n\n"
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):$")
_ENTRY = re.compile(r"^(\*{0,2}[\w., ]+): (.*)$")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SKIPPED = frozenset({"compat", "config", "functions", "gpu", "options", "paths", "runner"})
"""Not public, or there for few names that have their place elsewhere."""
_FUNCTIONS = frozenset({"exception", "experimental"})
"""Modules whose functions are public, too, and not only what ``windlass`` itself shows of them."""


def modules() -> list[str]:
    """Public modules, as users import them."""
    homes = {where for where in windlass._WHERE.values() if where != "client.output"}
    return sorted((homes | set(windlass._MODULES)) - _SKIPPED)


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    made = {f"{name}.md": module(name) for name in modules()}
    made["cli.md"] = commands()
    made["README.md"] = _index(made)
    return made


def _index(made: dict[str, str]) -> str:
    lines = ["# Reference\n\n", MADE, "[What of Modal's surface is there](parity.md) · [commands](cli.md)\n\n"]
    lines += ["| module | what it is | names |\n|---|---|---|\n"]
    for name in modules():
        doc = (importlib.import_module(f"windlass.{name}").__doc__ or "").strip().partition("\n\n")[0]
        names = ", ".join(f"`{one}`" for one, _ in public(name))
        lines.append(f"| [windlass.{name}]({name}.md) | {' '.join(doc.split())} | {names} |\n")
    return "".join(lines)


def public(name: str) -> Iterator[tuple[str, Any]]:
    """Classes and functions that the module itself makes, and what it is the public home of."""
    found = importlib.import_module(f"windlass.{name}")
    home = {one for one, where in windlass._WHERE.items() if where == name}
    for one in sorted({*vars(found), *home}):
        if one.startswith("_"):
            continue
        value = getattr(found, one)
        own = f'{getattr(getattr(value, "__wrapped__", value), "__module__", "")}.'.startswith(f"{found.__name__}.")
        if one in home or (own and (inspect.isclass(value) or (name in _FUNCTIONS and callable(value)))):
            yield one, value


def module(name: str) -> str:
    found = importlib.import_module(f"windlass.{name}")
    parts = [f"# windlass.{name}\n\n", MADE, prose(found.__doc__ or "")]
    for one, value in public(name):
        parts.append(f"\n## {one}\n\n")
        parts.append(_class(one, value) if inspect.isclass(value) else _function(one, value))
    return "".join(parts)


def _class(name: str, value: type) -> str:
    own = [base for base in value.__mro__ if base is value or base.__module__.startswith(f"{value.__module__}.")]
    parts = [signature(name, value)] if any("__init__" in vars(base) for base in own) and not _bare(value) else []
    parts.append(prose(inspect.getdoc(value) if value.__doc__ else ""))
    for member in sorted(_members(value)):
        found = inspect.getattr_static(value, member)
        shown = getattr(value, member)
        parts.append(f"\n### {name}.{member}\n\n")
        if isinstance(found, property):
            parts.append("*property*\n\n" + prose(inspect.getdoc(found) or ""))
        elif inspect.isclass(shown):
            parts.append(_class(f"{name}.{member}", shown))
        else:
            parts.append(_function(f"{name}.{member}", shown))
    return "".join(parts)


def _bare(value: type) -> bool:
    """Whether calling the class is refused, or is what every class can."""
    return list(inspect.signature(value).parameters) in ([], ["args", "kwargs"])


def _members(value: type) -> set[str]:
    """Documented ones, of the class and of its bases that are ours."""
    found: set[str] = set()
    for one in value.__mro__:
        if not one.__module__.startswith("windlass"):
            continue
        for name, member in vars(one).items():
            kinds = (property, classmethod, staticmethod, types.FunctionType, type)
            plain = isinstance(member, kinds) or (hasattr(member, "__get__") and hasattr(member, "_function"))
            if not name.startswith("_") and plain and getattr(value, name, None) is not None:
                found.add(name)
    return found


def _function(name: str, value: Any) -> str:
    asynchronous = "\nAlso as `.aio`.\n" if hasattr(value, "aio") else ""
    return signature(name, value) + prose(inspect.getdoc(value) or "") + asynchronous


def signature(name: str, value: Any) -> str:
    try:
        shown = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    known = [one for one in shown.parameters.values() if one.name not in ("self", "cls")]
    parameters, kinds = [_parameter(one) for one in known], [one.kind for one in known]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    answer = "" if shown.return_annotation in (inspect.Signature.empty, None, "None") else shown.return_annotation
    returns = f" -> {answer if isinstance(answer, str) else getattr(answer, '__name__', answer)}" if answer else ""
    line = f"{name}({', '.join(parameters)}){returns}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in parameters) + f"){returns}"
    return f"```python\n{line}\n```\n\n"


def _parameter(one: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    text = f"{stars}{one.name}"
    annotated = one.annotation is not inspect.Parameter.empty
    if annotated:
        kind = one.annotation
        text += f": {kind if isinstance(kind, str) else getattr(kind, '__name__', kind)}"
    if one.default is not inspect.Parameter.empty:
        text += (" = " if annotated else "=") + _ADDRESS.sub("", repr(one.default))
    return text


def prose(doc: str) -> str:
    """A docstring as Markdown: sections become lists, examples become code."""
    out: list[str] = []
    section = ""
    for line in textwrap.dedent(inspect.cleandoc(doc)).splitlines():
        if match := _SECTION.match(line):
            _close(section, out)
            section = match[1]
            out += ["", f"**{'Arguments' if section == 'Args' else section}**", ""]
            out += ["```pycon"] if section.startswith("Example") else []
        elif section and line and not line.startswith(" "):
            _close(section, out)
            section = ""
            out += ["", line]
        else:
            out.append(_line(section, line))
    _close(section, out)
    return "\n".join(out).strip("\n") + "\n" if out else ""


def _close(section: str, out: list[str]) -> None:
    """End the code of an example."""
    if section.startswith("Example"):
        while out and not out[-1].strip():
            out.pop()
        out.append("```")


def _line(section: str, line: str) -> str:
    if not section:
        return line
    inner = line[4:] if line.startswith("    ") else line.strip()
    if section.startswith("Example"):
        return inner
    if match := _ENTRY.match(inner):
        return f"* `{match[1]}`: {match[2]}"
    return f"  {inner.strip()}" if inner.strip() else ""


def commands() -> str:
    parts = ["# Commands\n\n", MADE]
    parts.append("Every command takes `-h` and `--help`. Exit codes: [logs and errors](../guide/logs-and-errors.md).\n")
    for path, command in sorted(_walk(cli.root, "windlass")):
        if not isinstance(command, click.Group):
            parts.append(_command(path, command))
    return "".join(parts)


def _walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            if one is not None and not one.hidden:
                yield from _walk(one, f"{path} {name}")


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, terminal_width=100)
    usage = " ".join(command.collect_usage_pieces(context))
    text = " ".join((command.help or "").split())
    parts = [f"\n## {path}\n\n```\n{path} {usage}\n```\n\n{text}\n"]
    records = [one.get_help_record(context) for one in command.params]
    shown = [one for one in records if one is not None]
    if shown:
        parts.append("\n| option | meaning |\n|---|---|\n")
        parts += [f"| `{_cell(option)}` | {_cell(meaning)} |\n" for option, meaning in shown]
    return "".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main() -> None:
    warnings.simplefilter("ignore")
    made = pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.md"):
        if old.name not in made and old.name != "parity.md":
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    print(f"wrote {len(made)} pages to {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
