"""`windlass queue …`."""
from __future__ import annotations

import click

from windlass.cli import ask, collections, listing, options

_MOST_COUNTED = 100_000


@click.group(name="queue", help="Queues: lines of values that functions and programs share.")
def group() -> None:
    pass


collections.add_common(group, "queue")


def partition_option(function: options.F) -> options.F:
    return click.option("-p", "--partition", metavar="KEY", help="Which of its partitions.")(function)


@group.command(name="list", help="Queues with names, newest first.")
@options.json_option
@options.env_option
def list_queues(as_json: bool, env: str | None) -> None:
    rows = []
    for one in collections.noun("queue").objects.list(environment_name=env):
        info, figures = one.info(), ask.request("queue.figures", {"id": one.object_id})
        total = figures["total"]
        shown = total if total <= _MOST_COUNTED else f">{_MOST_COUNTED}"
        rows.append([
            info.name, listing.iso(info.created_at.timestamp()), info.created_by, figures["partitions"], shown
        ])  # fmt: skip
    listing.show(["Name", "Created at", "Created by", "Partitions", "Total size"], rows, as_json=as_json)


@group.command(help="Print the next N values (1 unless said); they stay in the Queue.")
@click.argument("name", metavar="NAME")
@click.argument("n", metavar="N", type=click.IntRange(min=0), default=1)
@partition_option
@options.env_option
def peek(name: str, n: int, partition: str | None, env: str | None) -> None:
    from windlass.client import line

    pages = line.look(collections.found("queue", name, env).object_id, partition or "", 0.0)
    for value in collections.taken(pages, n):
        click.echo(collections.readable(value))


@group.command(name="len", help="How many values there are in a partition, or in all of them.")
@click.argument("name", metavar="NAME")
@partition_option
@click.option("-t", "--total", is_flag=True, help="Of all partitions.")
@options.env_option
def length(name: str, partition: str | None, total: bool, env: str | None) -> None:
    if partition is not None and total:
        raise click.UsageError("--partition and --total exclude each other.")
    click.echo(str(collections.found("queue", name, env).len(partition=partition, total=total)))


@group.command(help="Remove the values of a partition, or of all of them.")
@click.argument("name", metavar="NAME")
@partition_option
@click.option("-a", "--all", "everything", is_flag=True, help="Of all partitions.")
@options.yes_option
@options.env_option
def clear(name: str, partition: str | None, everything: bool, yes: bool, env: str | None) -> None:
    if partition is not None and everything:
        raise click.UsageError("--partition and --all exclude each other.")
    found = collections.found("queue", name, env)
    which = "all values" if everything else f"the values of partition {partition}" if partition else "the values"
    options.confirm(f"Remove {which} of the Queue {name}?", yes=yes)
    found.clear(partition=partition, all=everything)
    click.echo(f"Cleared queue {name}.")
