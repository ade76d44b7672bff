"""`windlass examples …`: programs to begin with, which come with Windlass."""
from __future__ import annotations

import ast
from pathlib import Path

import click

from windlass import exception
from windlass.cli import listing, options

_HERE = Path(__file__).parent


@click.group(name="examples", help="Programs to begin with: list, copy.")
def group() -> None:
    pass


def folder() -> Path:
    """Where they lie: beside this file in what is installed, at the root of a checkout."""
    installed, checkout = _HERE / "_examples", _HERE.parents[2] / "examples"
    for place in (installed, checkout):
        if place.is_dir():
            return place
    raise exception.NotFoundError("this installation of Windlass came without examples")


def known() -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder().glob("*.py"))}


@group.command(name="list", help="What there is, a line each.")
@options.json_option
def list_all(as_json: bool) -> None:
    rows = [[name, _says(path)] for name, path in known().items()]
    listing.show(["Name", "Shows"], rows, as_json=as_json)
    if not as_json:
        click.echo("`windlass examples copy NAME` puts one into this folder; `windlass run` runs it there.")


def _says(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return doc.partition("\n")[0]


@group.command(help="Copy one to DEST, a file or a folder: this one, unless said. 'all' copies all of them.")
@click.argument("name", metavar="NAME")
@click.argument("dest", metavar="[DEST]", default=".", type=click.Path(path_type=Path))
@click.option("-f", "--force", is_flag=True, help="Write over files that are there.")
def copy(name: str, dest: Path, force: bool) -> None:
    programs = known()
    chosen = programs if name == "all" else {stem: path for stem, path in programs.items() if stem == name}
    if not chosen:
        raise exception.NotFoundError(f"no example {name!r}", hint=f"There are: {', '.join(programs)}.")
    into = dest.is_dir() or name == "all" or not dest.suffix
    targets = {path: dest / path.name if into else dest for path in chosen.values()}
    if (there := [str(target) for target in targets.values() if target.exists()]) and not force:
        raise exception.AlreadyExistsError(f"{', '.join(there)}: already there", hint="Pass --force to write over it.")
    for path, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        click.echo(f"{target}: {_says(path)}")
    click.echo(f"\nRun it:\n\n    windlass run {next(iter(targets.values()))}")
