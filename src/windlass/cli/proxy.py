"""`windlass proxy …`."""
from __future__ import annotations

import json
import subprocess
import sys

import click

from windlass import paths
from windlass.cli import ask, control, listing, options


@click.group(name="proxy", help="Proxies: fixed addresses of this machine that containers leave by.")
def group() -> None:
    pass


@group.command(help="Make a proxy. With several addresses, each container leaves by one of them.")
@click.argument("name", metavar="NAME")
@click.option("--address", "addresses", metavar="ADDRESS", multiple=True, required=True, help="Of this machine.")
@options.env_option
@options.json_option
def create(name: str, addresses: tuple[str, ...], env: str | None, as_json: bool) -> None:
    control.ensure(paths.home(), worker=True)
    _renew()
    made = ask.request("proxy.create", {"name": name, "addresses": list(addresses), **options.environment(env)})
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(f"Created proxy {name}. Functions and sandboxes leave by it so:\n")
    click.echo(f'    @app.function(proxy=modal.Proxy.from_name("{name}"))')


def _renew() -> None:
    """Let the node see what addresses this machine has now."""
    line = [sys.executable, "-m", "windlass.worker.node", "sources", "--home", str(paths.home())]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    if done.returncode and done.stderr:
        raise click.ClickException(done.stderr.strip())


@group.command(name="list", help="All proxies of an environment.")
@options.env_option
@options.json_option
def list_proxies(env: str | None, as_json: bool) -> None:
    rows = [
        [one["name"], one["addresses"] if as_json else ", ".join(one["addresses"]), listing.iso(one["created_at"]),
         one["created_by"]]
        for one in ask.request("proxy.list", options.environment(env))["proxies"]
    ]  # fmt: skip
    listing.show(["Name", "Addresses", "Created at", "Created by"], rows, as_json=as_json)


@group.command(help="Delete a proxy. New containers of functions that name it cannot start any more.")
@click.argument("name", metavar="NAME")
@options.env_option
@options.yes_option
def delete(name: str, env: str | None, yes: bool) -> None:
    found = ask.request("proxy.get", {"name": name, **options.environment(env)})
    options.confirm(f"Delete proxy {name}?", yes=yes)
    ask.request("proxy.delete", {"proxy_id": found["proxy_id"]})
    click.echo(f"Deleted proxy {name}.")
