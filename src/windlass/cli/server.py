"""`windlass server …`: the platform on this machine."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from windlass import exception, paths
from windlass.cli import backup, control, exposure, listing, programs, unit

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True)
_TRUSTED = Path("/usr/local/share/ca-certificates/windlass-local.crt")


@click.group(name="server", help="The platform on this machine: start, stop, look at it.")
def group() -> None:
    pass


group.add_command(backup.backup)
group.add_command(backup.restore)
group.add_command(unit.install)
group.add_command(unit.uninstall)


def _remote_options(function: F) -> F:
    """What `start` and `restart` can be told of users on other machines."""
    for option in (
        click.option("--public-host", metavar="NAME", help="The name that they know this machine by."),
        click.option("--web-host", metavar="HOST", help="Where web functions are answered; as --listen, unless said."),
        click.option("--insecure", is_flag=True, help="Take --no-tls also for a port that others can reach."),
        click.option("--no-tls", is_flag=True, help="No TLS: for a proxy on this machine that has it."),
        click.option("--tls-key", metavar="FILE", type=_FILE, help="Its key, unless it lies in the same file."),
        click.option("--tls-cert", metavar="FILE", type=_FILE, help="A certificate; by default, one of its own."),
        click.option("--no-listen", is_flag=True, help="Answer users of this machine alone, as at first."),
        click.option("--listen", metavar="HOST:PORT", help="Answer users on other machines, from now on."),
    ):
        function = option(function)
    return function


def _metrics(context: click.Context, parameter: click.Parameter, address: str | None) -> str | None:
    """What is started takes its settings from the environment. What is no address is refused before anything is
    stopped for it."""
    if address and not exposure.is_port(address.rpartition(":")[2]):
        raise click.BadParameter(f"{address!r} is no HOST:PORT, like 127.0.0.1:9464.")
    if address is not None:
        os.environ["WINDLASS_SERVER_METRICS"] = address
    return address


_metrics_option = click.option(
    "--metrics", metavar="HOST:PORT", callback=_metrics,
    help="Serve figures and health there until it is stopped (WINDLASS_SERVER_METRICS).",
)  # fmt: skip


@group.command(help="Start server and worker in the background. Any other command does it when needed.")
@_metrics_option
@_remote_options
def start(metrics: str | None, **remote: Any) -> None:
    root = paths.home()
    wanted = exposure.wanted(**remote)
    if wanted is not None and programs.is_running(root) and wanted != exposure.noted(root):
        raise exception.ConflictError(
            "Windlass is up already, and answers elsewhere.", hint="Use `windlass server restart` with these options."
        )
    exposure.note(root, wanted)
    if control.start(root):
        click.echo(f"Windlass is up; its state lies in {root}.")
        _print_lacks(root)
    else:
        click.echo(f"Windlass is up already; its state lies in {root}.")
        if metrics is not None:
            click.echo("Whether it serves figures was said when it began: use `windlass server restart --metrics`.")
    _print_remote(root)


def _print_chosen() -> None:
    """Which platform other commands use, where it is not this one."""
    from windlass import config

    if url := config.config["server_url"]:
        click.echo(f"(server_url is set: other commands use the platform at {url}.)")


def _print_lacks(root: Path) -> None:
    for line in control.lacks(root):
        click.echo(line, err=True)  # who started it by another command shows what is said there


def _print_remote(root: Path) -> None:
    shown = exposure.shown(root)
    if shown["url"]:
        click.echo(f"{'remote':<12}{shown['url']}")
    if shown["fingerprint"]:
        click.echo(f"{'':<12}sha256:{shown['fingerprint']}")


@group.command(help="End server, worker and all containers. What was accepted is kept.")
def stop() -> None:
    click.echo("Windlass has stopped." if control.stop(paths.home()) else "Windlass was not running.")


@group.command(help="Stop, then start.")
@_metrics_option
@_remote_options
def restart(metrics: str | None, **remote: Any) -> None:
    root = paths.home()
    wanted = exposure.wanted(**remote)
    control.stop(root)
    exposure.note(root, wanted)
    control.start(root)
    click.echo(f"Windlass is up; its state lies in {root}.")
    _print_lacks(root)
    _print_remote(root)


@group.command(help="What runs, since when, in how much memory. Exit code 1 unless it is running.")
@click.option("--json/--no-json", "as_json", default=False, help="One JSON object.")
def status(as_json: bool) -> None:
    report = control.report(paths.home())
    if as_json:
        click.echo(json.dumps({**_plain(report), "remote": exposure.shown(paths.home())}, indent=2))
    else:
        _print(report)
        if report["state"] == "running":
            _print_remote(paths.home())
        _print_chosen()
    if report["state"] != "running":
        raise SystemExit(1)


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report with times as all lists have them."""
    times = {
        name: {**report[name], "started_at": listing.iso(report[name].get("started_at"))}
        for name in programs.NAMES
        if report[name]
    }
    return {**report, **times}


def _print(report: dict[str, Any]) -> None:
    click.echo(f"state       {report['state']}")
    click.echo(f"version     {report['version'] or '-'}")
    click.echo(f"home        {report['home']}")
    for name in ("supervisor", *programs.NAMES):
        program = report[name]
        if program is None or program["pid"] is None:
            click.echo(f"{name:<12}not running{_last_exit(program)}")
            continue
        memory = f"{program['memory'] / 2**20:.0f} MiB" if program["memory"] else "-"
        since = f", since {_when(program['started_at'])}" if program.get("started_at") else ""
        again = f", started {program['starts']} times" if program.get("starts", 1) > 1 else ""
        click.echo(f"{name:<12}process {program['pid']}, {memory}{since}{again}")
    for node in report["nodes"]:
        size = f"{node['cpus']:g} cores, {node['memory'] / 2**30:.0f} GiB"
        click.echo(f"{'node':<12}{node['node']}: {size}, {node['runtime']}")
        for gap in node["gaps"]:
            click.echo(f"{'':<12}! {gap}")


def _last_exit(program: dict[str, Any] | None) -> str:
    code = program.get("last_exit") if program else None
    return "" if code is None else f" (ended with {code})"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@group.command(help="The platform's own logs. Those of functions: `windlass app logs`.")
@click.argument("program", required=False, type=click.Choice([*programs.NAMES, "supervisor"]))
@click.option("-n", "--tail", default=100, show_default=True, help="Last lines of each log.")
@click.option("-f", "--follow", is_flag=True, help="Stay and print what comes.")
def logs(program: str | None, tail: int, follow: bool) -> None:
    root = paths.home()
    programs.check_owner(root)
    names = [program] if program else ["supervisor", *programs.NAMES]
    files = {name: programs.log_file(root, name) for name in names}
    if not any(path.exists() for path in files.values()):
        raise exception.NotFoundError(f"No logs in {root / 'log'}.", hint="Has the platform run in this home?")
    places = {}
    for name, path in files.items():
        places[name] = path.stat().st_size if path.exists() else 0
        for line in control.tail(path, tail):
            click.echo(f"{name}: {line}")
    while follow:
        time.sleep(0.2)
        for name in files:
            places[name] = _print_new(name, places[name])


def _print_new(name: str, place: int) -> int:
    """Print the whole lines of a log behind byte ``place``; where to go on."""
    path = programs.log_file(paths.home(), name)
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < place:
                place = 0  # put aside and begun anew
            file.seek(place)
            whole, _, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return 0
    for line in whole.decode("utf-8", "replace").splitlines():
        click.echo(f"{name}: {line}")
    return place + (len(whole) + 1 if whole else 0)


@group.command(help="All messages of this release as an OpenAPI document, in JSON.")
def openapi() -> None:
    from windlass.server import compose  # brings in all that answers
    from windlass.server.api import openapi as documents

    assert compose.API
    click.echo(json.dumps(documents.document(), indent=2))


@group.command(help="Answer HTTPS as well. With certificates of a local authority, which this machine then trusts.")
@click.option("--remove", is_flag=True, help="Let this machine trust the authority no longer. HTTPS goes on.")
def trust(remove: bool) -> None:
    if remove:
        return _distrust(paths.home() / "tls" / "authority.pem")
    from windlass.cli import ask

    made = ask.request("edge.trust", {})
    certificate = Path(made["certificate"])
    click.echo(f"HTTPS is answered at port {made['port']}, with certificates of {certificate}.")
    if not _trusted_here(certificate):
        click.echo(f"Let this machine trust it: copy it to {_TRUSTED} and run update-ca-certificates as root.")
    click.echo("Browsers with certificates of their own (Firefox, Chrome on Linux) import it in their settings.")


def _trusted_here(certificate: Path) -> bool:
    """Whether it could be installed; only root can, and only where Debian's way is known."""
    program = shutil.which("update-ca-certificates")
    if os.geteuid() != 0 or program is None or not _TRUSTED.parent.exists():
        return False
    _TRUSTED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(certificate, _TRUSTED)
    done = subprocess.run([program], env={"PATH": os.defpath}, capture_output=True, check=False)
    if done.returncode == 0:
        click.echo("Programs of this machine trust it now.")
    return done.returncode == 0


def _distrust(certificate: Path) -> None:
    """Take the certificate out of what this machine trusts, if it is this platform's that lies there."""
    if not _TRUSTED.exists():
        click.echo("This machine trusts no authority of Windlass.")
        return
    if not certificate.exists() or certificate.read_bytes() != _TRUSTED.read_bytes():
        raise exception.ConflictError(
            f"{_TRUSTED} is the authority of another platform than that in {paths.home()}",
            hint="Set WINDLASS_HOME to the folder of that platform.",
        )
    program = shutil.which("update-ca-certificates")
    if os.geteuid() != 0 or program is None:
        click.echo(f"Remove {_TRUSTED} and run update-ca-certificates --fresh as root.")
        return
    _TRUSTED.unlink()
    done = subprocess.run([program], env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise exception.ExecutionError(
            f"update-ca-certificates failed: {done.stderr.strip()[-300:]}", hint="Run it again as root."
        )
    click.echo("Programs of this machine trust it no longer. Browsers that imported it forget it in their settings.")
