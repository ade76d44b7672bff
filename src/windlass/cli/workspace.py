"""`windlass workspace …`: what belongs to all environments."""
from __future__ import annotations

import getpass

import click

from windlass.cli import ask, listing, options


@click.group(name="workspace", help="What belongs to the whole workspace: proxy tokens.")
def group() -> None:
    pass


@group.group(name="proxy-tokens", help="Tokens for web functions with requires_proxy_auth=True.")
def proxy_tokens() -> None:
    pass


@proxy_tokens.command(help="Make a token. Its secret is shown once, and kept by nobody.")
@click.argument("name", metavar="[NAME]", default="")
@click.option("-e", "--env", "environments", metavar="NAME", multiple=True, help="Valid only there; may be repeated.")
@options.json_option
def create(name: str, environments: tuple[str, ...], as_json: bool) -> None:
    body = {"name": name, "environments": list(environments), "by": getpass.getuser()}
    made = ask.request("proxy_token.create", body)
    if as_json:
        listing.show(["Token ID", "Secret"], [[made["token_id"], made["secret"]]], as_json=True)
        return
    click.echo(f"Token ID: {made['token_id']}\nSecret:   {made['secret']}\n\nUse it:\n")
    click.echo(f'    curl -H "Modal-Key: {made["token_id"]}" -H "Modal-Secret: {made["secret"]}" URL')


@proxy_tokens.command(name="list", help="All tokens, newest first, without their secrets.")
@options.json_option
def list_all(as_json: bool) -> None:
    rows = [
        [one["token_id"], one["name"], ", ".join(one["environments"]), listing.iso(one["created_at"]), one["by"]]
        for one in ask.request("proxy_token.list", {})["tokens"]
    ]
    listing.show(["Token ID", "Name", "Environments", "Created at", "Created by"], rows, as_json=as_json)


@proxy_tokens.command(help="Let a token open nothing any more, at once.")
@click.argument("token_id", metavar="TOKEN_ID")
def revoke(token_id: str) -> None:
    ask.request("proxy_token.revoke", {"token_id": token_id})
    click.echo(f"Revoked {token_id}.")
