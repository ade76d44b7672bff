"""`windlass doctor`: what this machine can and cannot give, why, and how to get it.

``windlass.worker.host`` tries out what the machine grants; here is added where state lies and what runs.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from windlass import exception, paths
from windlass.cli import control, programs, scope
from windlass.worker.volumes import verity

GOOD, LIMITED, MISSING, UNKNOWN = "good", "limited", "missing", "unknown"
_MARKS = {GOOD: ("✓", "green"), LIMITED: ("!", "yellow"), MISSING: ("✗", "red"), UNKNOWN: ("?", "red")}

_TIGHT, _FULL = 2 * 2**30, 200 * 2**20
_PROBE_SECONDS = 300  # an emulated machine has needed 100
_AGAIN = "Try again when the machine is less busy; `python -m windlass.worker.host` says how far it comes."
_SHOWN = 5  # damaged files that are named
_VITAL = ("functions", "images")
"""What functions cannot do without, in the words of ``windlass.worker.host``."""


class Finding(NamedTuple):
    """One thing about this machine. ``state``: good, limited (works with less), missing (functions cannot run), or
    unknown (whether they can run could not be found out)."""

    name: str
    state: str
    detail: str
    remedy: str = ""


@click.command(name="doctor")
@click.option("--json/--no-json", "as_json", default=False, help="One JSON object.")
def command(as_json: bool) -> None:
    """What this machine can and cannot give, why, and how to get it.

    The exit code is 1 when functions cannot run here.
    """
    found = [*_look(paths.home())]
    able = all(finding.state not in (MISSING, UNKNOWN) for finding in found)
    if as_json:
        click.echo(json.dumps({"able": able, "findings": [finding._asdict() for finding in found]}, indent=2))
    else:
        _print(found, able)
    if not able:
        raise SystemExit(1)


def _look(root: Path) -> Iterator[Finding]:
    yield Finding("python", GOOD, f"{sys.version.split()[0]} at {sys.executable}")
    try:
        programs.check_owner(root)
    except exception.PermissionDeniedError as exc:
        yield Finding("home", MISSING, str(exc), exc.hint)
        yield from _host(root, 0)
        return
    yield from _space(root)
    yield from _volumes(root)
    chosen = _chosen()
    if chosen is not None:
        yield chosen
    yield _platform(root, is_chosen=chosen is None)
    yield from _host(root, _worker(root))


def _print(found: list[Finding], able: bool) -> None:
    width = max(len(finding.name) for finding in found)
    for finding in found:
        mark, colour = _MARKS[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.name:<{width}}  {finding.detail}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")
    click.echo()
    if missing := [finding.name for finding in found if finding.state == MISSING]:
        click.echo(f"Functions cannot run on this machine yet: {', '.join(missing)}.")
    elif not able:
        click.echo("Whether functions can run on this machine could not be found out.")
    elif any(finding.state == LIMITED for finding in found):
        click.echo("Functions can run on this machine, with the limits above.")
    else:
        click.echo("Functions can run on this machine.")


# -- where state lies -----------------------------------------------------------------------------------


def _space(root: Path) -> Iterator[Finding]:
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding("home", MISSING, f"{place} cannot be written", "Set WINDLASS_HOME to a folder of your own.")
        return
    yield Finding("home", GOOD, str(root))
    free = shutil.disk_usage(place).free
    state = MISSING if free < _FULL else LIMITED if free < _TIGHT else GOOD
    remedy = "" if state == GOOD else "Free some space, or set WINDLASS_HOME to a larger disk."
    yield Finding("space", state, f"{free / 2**30:.1f} GiB free in {place}", remedy)


def _volumes(root: Path) -> Iterator[Finding]:
    """How stored files of volumes are guarded, and what is known of them: the worker compares them with what was
    committed."""
    place = root / "volumes"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return
    layers = [layer for layer in place.glob("vl-*") if layer.is_dir()]
    yield _guard(place, layers)
    if not layers:
        return
    damaged: list[str] = []
    for layer in layers:
        try:
            damaged += json.loads((layer / "damaged.json").read_text())
        except (OSError, ValueError):
            continue
    checked = sum((layer / "checked").exists() for layer in layers)
    detail = f"{checked} of {len(layers)} layers were compared with what was committed, in the background"
    if damaged:
        paths = ", ".join(map(repr, damaged[:_SHOWN])) + (", …" if len(damaged) > _SHOWN else "")
        remedy = "`windlass volume check NAME` says whose it is. Put the files again, or restore an earlier version."
        yield Finding("volumes", LIMITED, f"{detail}; damaged: {paths}", remedy)
    else:
        yield Finding("volumes", GOOD, f"{detail}; no damage was found")


def _guard(place: Path, layers: list[Path]) -> Finding:
    able, sealed = verity.able(place), sum(verity.noted(layer) for layer in layers)
    if able.can:
        detail = f"sealed by fs-verity: a read gives what was committed, or an error ({sealed} of {len(layers)} layers)"
        return Finding("stored content", GOOD, detail)
    if sealed:
        detail = f"{sealed} of {len(layers)} layers are sealed by fs-verity, and cannot be read here: {able.why}"
        return Finding("stored content", LIMITED, detail, "Start a kernel with CONFIG_FS_VERITY, as Debian's.")
    detail = f"compared in the background, and at each read through the API, but not in containers: {able.why}"
    return Finding("stored content", GOOD, detail, able.remedy)


def _chosen() -> Finding | None:
    """Which platform commands and programs use, where the settings name one: all else here is about this machine."""
    from windlass import config

    try:
        url = config.config["server_url"]
    except exception.Error as exc:
        return Finding("settings", LIMITED, str(exc), exc.hint)
    if not url:
        return None
    return Finding("settings", GOOD, f"commands and programs use the platform at {url}, not this machine's")


def _platform(root: Path, *, is_chosen: bool) -> Finding:
    try:
        report = control.report(root)
        if report["state"] == "running" and (answer := control.ask_server(root)) is not None:
            control.check_version(root, answer)
        if report["state"] == "stopped" and (file := root / "db/windlass.sqlite3").is_file():
            from windlass.server.store import database

            database.check(file)
    except exception.Error as exc:
        return Finding("platform", LIMITED, str(exc), exc.hint)
    if report["state"] == "running":
        return Finding("platform", GOOD, f"running, Windlass {report['version']}")
    starter = "the next command" if is_chosen else "`windlass server start`"
    return Finding("platform", GOOD, f"{report['state']}; {starter} starts it")


# -- what the machine grants ----------------------------------------------------------------------------


def _worker(root: Path) -> int:
    """The process id of the running worker, or 0."""
    if not programs.is_running(root):
        return 0
    return int((programs.read_state(root).get("programs", {}).get("worker") or {}).get("pid") or 0)


def _host(root: Path, worker: int) -> Iterator[Finding]:
    argv = [sys.executable, "-m", "windlass.worker.host", "--json", "--home", str(root)]
    if worker:
        argv += ["--worker", str(worker)]
    argv = scope.around(argv)  # a platform that a command starts is made there
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        yield Finding("host", UNKNOWN, f"could not be examined within {_PROBE_SECONDS} s", _AGAIN)
        return
    try:
        checks = json.loads(done.stdout)
    except ValueError:
        yield Finding("host", UNKNOWN, f"could not be examined: {done.stderr.strip() or 'no answer'}", _AGAIN)
        return
    for check in checks:
        state = GOOD if check["ok"] else MISSING if check["need"] in _VITAL else LIMITED
        yield Finding(check["name"], state, check["detail"], check["remedy"])
