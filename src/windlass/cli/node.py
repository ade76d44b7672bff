"""`windlass node …`."""
from __future__ import annotations

from typing import Any

import click

from windlass.cli import ask, listing, options


@click.group(name="node", help="Machines of the platform: what they have, and who has it now.")
def group() -> None:
    pass


@group.command(name="list", help="Machines whose worker is connected.")
@options.json_option
def list_nodes(as_json: bool) -> None:
    nodes = ask.request("node.list", {})["nodes"]
    if as_json:
        columns = ["Node", "CPUs", "Memory", "Containers", "Promised", "GPUs"]
        rows = [[one[key] for key in ("node", "cpus", "memory", "containers", "promised", "gpus")] for one in nodes]
        listing.show(columns, rows, as_json=True)
        return
    rows = [
        [
            one["node"], f"{one['cpus']:g}", listing.size(one["memory"]), str(one["containers"]),
            listing.size(one["promised"]), "\n".join(_gpu(gpu) for gpu in one["gpus"]) or "none",
        ]
        for one in nodes
    ]  # fmt: skip
    listing.show(["Node", "CPUs", "Memory", "Containers", "Promised", "GPUs"], rows, as_json=False)


def _gpu(gpu: Any) -> str:
    return f"{gpu['kind']} " + (f"held by {gpu['held_by']}" if gpu["held_by"] else "free")
