"""`windlass workspace …`: what belongs to all environments."""
from __future__ import annotations

import getpass

import click

from windlass.cli import ask, listing, options


@click.group(name="workspace", help="What belongs to the whole workspace: members, proxy tokens, the audit log.")
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


@group.group(name="members", help="Who may use this platform. `windlass token create` makes somebody a member.")
def members() -> None:
    pass


@members.command(name="list", help="Members and service users, oldest first.")
@options.json_option
def list_members(as_json: bool) -> None:
    rows = [
        [
            one["principal_id"], one["name"], one["kind"],
            one["environments"] if as_json else ", ".join(": ".join(role) for role in one["environments"].items()),
            one["tokens"] if as_json else str(one["tokens"]),
            listing.iso(one["created_at"]), listing.iso(one["used_at"]),
        ]
        for one in ask.request("member.list", {})["members"]
    ]  # fmt: skip
    titles = ["Member ID", "Name", "Role", "Own roles", "Valid tokens", "Joined at", "Last active"]
    listing.show(titles, rows, as_json=as_json, spare=["Joined at", "Member ID"])


@members.command(name="update", help="Give a member another role in the workspace.")
@click.argument("member", metavar="NAME")
@click.option("--role", required=True, type=click.Choice(["owner", "manager", "member", "viewer"]))
def update_member(member: str, role: str) -> None:
    ask.request("member.update", {"member": member, "kind": role})
    click.echo(f"{member} is a {role} now." if role != "owner" else f"{member} is an owner now.")


@members.command(name="remove", help="End all tokens of a member, at once. What they made stays.")
@click.argument("member", metavar="NAME")
@options.yes_option
def remove_member(member: str, yes: bool) -> None:
    options.confirm(f"Remove {member}, and end all their tokens?", yes=yes)
    ask.request("member.remove", {"member": member})
    click.echo(f"Removed {member}.")


@group.command(help="Who did what, when, and from where; newest first.")
@click.option("--since", metavar="TIME", help="From this time (ISO 8601) or age (30m, 2h, 1d).")
@click.option("--until", metavar="TIME", help="Up to this time or age.")
@click.option("--member", metavar="NAME", help="Only what they did.")
@click.option("--action", metavar="ACTION", help="Only this, such as app.deploy or secret.*")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=100, help="Lines; 100 by default.")
@options.json_option
def audit(
    since: str | None, until: str | None, member: str | None, action: str | None, limit: int, as_json: bool
) -> None:
    query: dict[str, object] = {"limit": limit}
    for key, text in (("since", since), ("until", until)):
        if text:
            query[key] = options.moment(text)
    query.update({key: text for key, text in (("member", member), ("action", action)) if text})
    rows = [
        [
            listing.iso(one["at"]), one["name"], one["action"], one["target"], one["environment"], one["outcome"],
            one["source"],
        ]
        for one in ask.request("audit.list", query)["entries"]
    ]  # fmt: skip
    titles = ["Time", "Who", "Action", "Target", "Environment", "Outcome", "From"]
    listing.show(titles, rows, as_json=as_json, spare=["Environment", "From"])
