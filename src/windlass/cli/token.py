"""`windlass token …`: what proves on another machine who one is.

    on the platform's machine    windlass token create NAME      prints one command for the other machine
    on the other machine         windlass token set …            stores what was printed, after trying it out
                                 windlass token new              asks for one; somebody who may approves it

Secrets come from a prompt or from stdin, so that no list of processes shows them.
"""
from __future__ import annotations

import json
import re
import sys
from typing import Any

import click

from windlass import exception
from windlass.cli import ask, listing, obtain, options
from windlass.cli import config as config_commands
from windlass.config import config, profiles

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_KINDS = ["owner", "manager", "member", "viewer", "service"]


def duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Seconds of ``12h``, ``7d`` and the like."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None or float(match[1]) <= 0:
        raise click.BadParameter(f"{text!r} is no duration such as 12h or 7d.")
    return float(match[1]) * _UNITS[match[2]]


profile_option = click.option("--profile", metavar="NAME", help="Store it there.")
activate_option = click.option("--activate/--no-activate", default=True, help="Let that profile count.")
verify_option = click.option("--verify/--no-verify", default=True, help="Try it out first.")
expires_option = click.option("--expires-in", metavar="TIME", callback=duration, help="Such as 12h or 7d; or never.")
server_option = click.option("--server", metavar="URL", help="Where the platform is, such as https://host:8643.")


@click.group(name="token", help="Tokens: prove on another machine who you are.")
def group() -> None:
    pass


@group.command(help="Make a token. Prints the command that stores it on another machine.")
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(_KINDS), help="Theirs in the workspace; member, if they are new.")
@expires_option
@click.option("--environment", "-e", "environments", metavar="NAME", multiple=True, help="Only there; repeatable.")
@server_option
@options.json_option
def create(
    name: str, role: str | None, expires_in: float | None, environments: tuple[str, ...], server: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    made = obtain.created(name, role, expires_in, environments)
    where = {"url": server, "fingerprint": ""} if server else obtain.reached()
    if as_json:
        until = listing.iso(made["expires_at"])
        row = [made["token_id"], made["secret"], made["name"], made["kind"], until, where["url"], where["fingerprint"]]
        columns = ["Token ID", "Secret", "Name", "Role", "Expires at", "Server", "Fingerprint"]
        listing.show(columns, [row], as_json=True)
        return
    end = f", until {listing.iso(made['expires_at'])}" if made["expires_at"] else ""
    click.echo(f"A token for {made['name']} ({made['kind']}){end}. Run this on their machine:\n")
    click.echo(f"    {_pasteable(made, where)}\n")
    click.echo("The secret is shown once. Without its last part the command asks for it.")
    if not where["url"]:
        click.echo("This platform answers only on this machine: others need a way to it, and --server.")


def _pasteable(made: dict[str, Any], where: dict[str, str]) -> str:
    """The secret goes in by stdin, which shells do not put into the list of processes."""
    words = ["windlass token set", f"--token-id {made['token_id']}"]
    if where["url"]:
        words.append(f"--server {where['url']}")
    if where["fingerprint"]:
        words.append(f"--fingerprint {where['fingerprint']}")
    return " ".join([*words, f"<<< {made['secret']}"])


@group.command(name="set", help="Store a token. Its secret is asked for, or read from stdin.")
@click.option("--token-id", metavar="ID", help="ak-…; asked for where it is missing.")
@click.option("--token-secret", metavar="SECRET", help="as-…; others on this machine may see it here: leave it out.")
@server_option
@click.option("--fingerprint", metavar="SHA256", help="Of the certificate that the platform shows.")
@profile_option
@activate_option
@verify_option
def store(
    token_id: str | None, token_secret: str | None, server: str | None, fingerprint: str | None, profile: str | None,
    activate: bool, verify: bool,
) -> None:  # fmt: skip
    token_id = token_id or _asked("Token ID", hidden=False)
    secret = token_secret or _asked("Token secret", hidden=True)
    obtain.keep(
        {"token_id": token_id, "token_secret": secret, "server_url": server, "server_fingerprint": fingerprint},
        profile, activate=activate, verify=verify,
    )  # fmt: skip


def _asked(what: str, *, hidden: bool) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=hidden)).strip()
    if text := sys.stdin.readline().strip():
        return text
    raise click.UsageError(f"{what} is missing, and stdin has none.")


@group.command(help="Get a token. On another machine than the platform's, somebody must approve it.")
@profile_option
@activate_option
@verify_option
@click.option("--source", hidden=True, help="Accepted for compatibility.")
@server_option
@click.option("--fingerprint", metavar="SHA256", help="Of the certificate that the platform shows.")
@expires_option
@click.option("--delete-existing", is_flag=True, help="Revoke the token that the profile has now.")
def new(
    profile: str | None, activate: bool, verify: bool, source: str | None, server: str | None, fingerprint: str | None,
    expires_in: float | None, delete_existing: bool,
) -> None:  # fmt: skip
    obtain.token(
        profile, activate=activate, verify=verify, server=server, fingerprint=fingerprint, expires_in=expires_in,
        delete_existing=delete_existing,
    )  # fmt: skip


@group.command(help="Give somebody the token that they ask for (`windlass token new`).")
@click.argument("code", metavar="CODE")
@click.option("--name", metavar="NAME", help="Who they are; what they said, if not given.")
@click.option("--role", type=click.Choice(_KINDS), help="Theirs in the workspace; member, if they are new.")
@expires_option
@click.option("--environment", "-e", "environments", metavar="NAME", multiple=True, help="Only there; repeatable.")
@options.yes_option
def approve(
    code: str, name: str | None, role: str | None, expires_in: float | None, environments: tuple[str, ...], yes: bool
) -> None:
    asked = ask.request("token.asked", {"code": code})
    options.confirm(f"Give {name or asked['name'] or 'somebody'}, who asks from {asked['source']}, a token?", yes=yes)
    body: dict[str, Any] = {"code": code}
    said = {"name": name, "kind": role, "expires_in": expires_in, "environments": list(environments)}
    body.update({key: value for key, value in said.items() if value})
    made = ask.request("token.approve", body)
    click.echo(f"{made['name']} has a token now, and is a {made['kind']}.")


@group.command(help="Whose token this is, and what it opens.")
@options.json_option
def info(as_json: bool) -> None:
    config_commands.warn(*obtain.VARIABLES)
    me = ask.request("identity.whoami", {})
    if as_json:
        click.echo(json.dumps({**me, "expires_at": listing.iso(me["expires_at"])}, indent=2))
        return
    roles = ", ".join(f"{name}: {role}" for name, role in me["environments"].items())
    listing.facts({
        "Workspace": me["workspace"],
        "Name": me["name"],
        "Role": me["kind"],
        "Token ID": me["token_id"] or "none: the platform of this machine knows its owner",
        "Expires at": listing.iso(me["expires_at"]) or "never",
        "Environments": roles or "none",
    })  # fmt: skip


@group.command(help="Another secret for a token; the old one is good for a minute more.")
@click.argument("token_id", metavar="[TOKEN_ID]", default="")
@expires_option
def rotate(token_id: str, expires_in: float | None) -> None:
    mine = str(config["token_id"])
    if not token_id and not mine:
        raise exception.AuthError("there is no token to renew here", hint="`windlass token new` makes one.")
    own = not token_id or token_id == mine
    body = {**({} if own else {"token_id": token_id}), **({"expires_in": expires_in} if expires_in else {})}
    made = ask.request("token.rotate", body)
    if not own:
        click.echo(f"The secret of {token_id} is now, and is shown once:\n\n    {made['secret']}")
        return
    path = profiles.store(profiles.current(), {"token_id": mine, "token_secret": made["secret"]}, activate=False)
    click.echo(f"Stored the new secret of {mine} in {path}.")
    config_commands.warn(*obtain.VARIABLES)


@group.command(name="list", help="Your tokens; all, for those who administer the workspace.")
@options.json_option
def list_tokens(as_json: bool) -> None:
    rows = [
        [
            one["token_id"], one["name"], one["kind"], one["state"],
            one["environments"] if as_json else ", ".join(one["environments"]) or "all",
            listing.iso(one["created_at"]), listing.iso(one["expires_at"]), listing.iso(one["used_at"]),
        ]
        for one in ask.request("token.list", {})["tokens"]
    ]  # fmt: skip
    titles = ["Token ID", "Name", "Role", "State", "Environments", "Created at", "Expires at", "Last used at"]
    listing.show(titles, rows, as_json=as_json, spare=["Created at", "Last used at", "Environments"])


@group.command(help="Let a token open nothing any more, at once.")
@click.argument("token_id", metavar="TOKEN_ID")
@options.yes_option
def revoke(token_id: str, yes: bool) -> None:
    options.confirm(f"Revoke {token_id}?", yes=yes)
    ask.request("token.revoke", {"token_id": token_id})
    click.echo(f"Revoked {token_id}.")
