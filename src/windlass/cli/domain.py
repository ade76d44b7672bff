"""`windlass domain …`: domains of your own that web functions may have."""
from __future__ import annotations

import click

from windlass.cli import ask, listing, options


@click.group(name="domain", help="Domains of your own that web functions may name in custom_domains=.")
def group() -> None:
    pass


@group.command(help="Register a domain; *.example.org stands for all below it. Its DNS record must point here.")
@click.argument("domain", metavar="DOMAIN")
def add(domain: str) -> None:
    ask.request("domain.add", {"domain": domain.lower()})
    click.echo(f"Registered {domain.lower()}. Name it: custom_domains=[{domain.lower()!r}]")


@group.command(name="list", help="All registered domains.")
@options.json_option
def list_all(as_json: bool) -> None:
    rows = [[one["domain"], listing.iso(one["created_at"])] for one in ask.request("domain.list", {})["domains"]]
    listing.show(["Domain", "Created at"], rows, as_json=as_json)


@group.command(help="Forget a domain. Functions that have it keep it until their next deployment.")
@click.argument("domain", metavar="DOMAIN")
def remove(domain: str) -> None:
    ask.request("domain.remove", {"domain": domain.lower()})
    click.echo(f"Removed {domain.lower()}.")
