"""Functions, figures and records as people and programs read them."""
from __future__ import annotations

import json
from typing import Any

import click

from windlass.cli import listing
from windlass.client import gpus
from windlass.wire import parameters

_SPREADS = {
    "Queue": "queue", "Start-up": "start", "Run": "run",
    "Container made": "make", "Code loaded": "load", "Enter hooks": "enter",
}  # fmt: skip
_COUNTS = {"Inputs": "inputs", "Failures": "failures", "Retries": "retries", "Cancelled": "cancelled",
           "Crashes": "crashes", "Containers started": "containers"}  # fmt: skip


def span(seconds: float | None) -> str:
    """A duration with three digits: ``0.5 ms``, ``12.3 s``, ``3 min``."""
    if seconds is None:
        return "-"
    for limit, unit, name in ((0.001, 1e-6, "µs"), (1.0, 0.001, "ms"), (180.0, 1.0, "s"), (10_800.0, 60.0, "min")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 3600:.3g} h"


def size(number: int | None) -> str:
    """Bytes as MiB."""
    return f"{number / 1048576:,.0f} MiB" if number else "-"


# -- functions


def function(info: Any) -> dict[str, Any]:
    """What ``records.FunctionDetail`` says, one fact a line."""
    spec, autoscaler = info["spec"], info["autoscaler"]
    facts: dict[str, Any] = {
        "Function ID": info["function_id"],
        "Name": info["tag"].removesuffix(".*"),
        "App": f"{info['app_name']} ({info['app_id']})",
        "State": "live" if info["live"] else "its app has stopped",
        "Kind": _kind(spec),
        "Code": f"{spec['definition']} {spec['module']}:{spec['qualname']}",
        "Image": f"{spec['image_id']}: {'; '.join(_step(step) for step in info['image']) or 'not built here'}",
        "Resources": _resources(spec),
        "Timeouts": f"{span(spec['timeout'])} an attempt, {span(spec['startup_timeout'])} for the start",
        "Retries": _retries(spec["retries"]),
        "Autoscaler": _autoscaler(autoscaler, single_use=spec["single_use"]),
        **_sharing(spec),
        "Secrets": ", ".join(spec["secrets"]) or "none",
        "Containers": len(info["containers"]),
        "Backlog": info["backlog"],
        "Running inputs": info["running"],
    }
    if info["variant_of"]:
        facts["Variant of"] = info["variant_of"]
    if info["parameters"]:
        values = parameters.decode(info["parameters"])
        facts["Parameters"] = ", ".join(f"{name}={value!r}" for name, value in values.items())
    if info["variants"]:
        facts["Variants"] = ", ".join(info["variants"][:20]) + (" …" if len(info["variants"]) > 20 else "")
    return facts


def _sharing(spec: Any) -> dict[str, str]:
    """What not every function has."""
    facts = {}
    if concurrency := spec.get("concurrency"):
        text = f"up to {concurrency['max_inputs']} at once in a container, planned with {concurrency['target_inputs']}"
        facts["Concurrency"] = text
    if batching := spec.get("batching"):
        facts["Batching"] = f"up to {batching['max_batch_size']} together, after {span(batching['wait_ms'] / 1000)}"
    if spec.get("schedule"):
        facts["Schedule"] = schedule(spec["schedule"])
    if spec.get("snapshot"):
        facts["Memory snapshot"] = "yes"
    return facts


def schedule(spec: Any) -> str:
    """As short as people write it."""
    if "cron" in spec:
        return f"{spec['cron']} ({spec.get('timezone', 'UTC')})"
    parts = [f"{count:g} {unit if count != 1 else unit[:-1]}" for unit, count in spec["period"].items()]
    return f"every {', '.join(parts)}"


def _kind(spec: Any) -> str:
    if spec.get("class_name"):
        return f"class with the methods {', '.join(spec['methods'])}"
    return f"{'async ' if spec['is_async'] else ''}{'generator' if spec['is_generator'] else 'function'}"


def _step(recipe: Any) -> str:
    op = recipe.get("op", "?")
    said = recipe.get("commands") or recipe.get("packages") or [recipe.get("base") or recipe.get("path") or ""]
    if op == "env":
        said = sorted(recipe.get("env", {}))
    text = " ".join(f"{op} {' '.join(str(word) for word in said)}".split())
    return text if len(text) <= 80 else text[:79] + "…"


def _resources(spec: Any) -> str:
    def bounds(request: float, limit: float, unit: str) -> str:
        return f"{request:g}{unit}" + (f" up to {limit:g}{unit}" if limit else "")

    parts = [
        "CPU " + bounds(spec["cpu_request"] or 0.125, spec["cpu_limit"], ""),
        "memory " + bounds(spec["memory_request"] or 128, spec["memory_limit"], " MiB"),
    ]
    if spec.get("gpus"):
        parts.insert(0, "GPU " + " or ".join(gpus.words(spec["gpus"])))
    if spec["block_network"]:
        parts.append("no network")
    if "outbound_cidrs" in spec or "outbound_domains" in spec:
        parts.append("reaches only what its lists allow")
    if spec["restrict_access"]:
        parts.append("no access to the platform")
    return ", ".join(parts)


def _retries(policy: Any) -> str:
    if not policy or not policy["max_retries"]:
        return "none"
    return f"{policy['max_retries']}, after {policy['initial_delay']:g} s, times {policy['backoff_coefficient']:g} each"


def _autoscaler(settings: Any, *, single_use: bool) -> str:
    most = settings["max_containers"] or "any number of"
    text = f"{settings['min_containers']} to {most} containers, {settings['buffer_containers']} spare"
    text = f"{text}, idle ones stop after {settings['scaledown_window']:g} s"
    return f"{text}, one input each" if single_use else text


def show_containers(containers: list[Any]) -> None:
    """Those that live, with where their start-up time went."""
    rows = []
    for one in sorted(containers, key=lambda one: one["created_at"]):
        made, ready, phases = one["made_at"], one["started_at"], one["phases"]
        enter = phases.get("enter")
        load = None if made is None or ready is None else max(0.0, ready - made - (enter or 0.0))
        rows.append([
            one["container_id"], one["state"], listing.iso(ready) or "Pending",
            span(None if made is None else made - one["created_at"]), span(load), span(enter),
        ])  # fmt: skip
    listing.show(["Container ID", "State", "Start Time", "Made in", "Loaded in", "Entered in"], rows, as_json=False)


# -- figures


def figures(found: Any) -> dict[str, str]:
    """``records.Figures`` for a table."""
    shown = {title: f"{found[key]:,}" for title, key in _COUNTS.items()}
    for title, key in _SPREADS.items():
        shown[f"{title} p50 / p99"] = f"{span(found[key]['p50'])} / {span(found[key]['p99'])}"
    return {**shown, "CPU time": span(found["cpu_seconds"]), "Peak memory": size(found["memory_peak"])}


def plain_figures(found: Any) -> dict[str, Any]:
    """The same as plain numbers."""
    shown: dict[str, Any] = {title: found[key] for title, key in _COUNTS.items()}
    for title, key in _SPREADS.items():
        shown.update({f"{title} p50": found[key]["p50"], f"{title} p99": found[key]["p99"]})
    return {**shown, "CPU seconds": found["cpu_seconds"], "Memory peak": found["memory_peak"]}


# -- records


def call(call_id: str, known: Any | None, records: list[Any]) -> dict[str, Any]:
    """A call in some lines. ``known``: its ``calls.CallInfo``, while there is one."""
    facts: dict[str, Any] = {"Call ID": call_id}
    if records:
        facts["Function"] = f"{records[0]['function']} ({records[0]['function_id']})"
        facts["Kind"] = records[0]["kind"]
    if known is None:
        return {**facts, "State": "its results are forgotten"}
    facts["Created at"] = listing.iso(known["created_at"])
    facts["Inputs"] = f"{known['num_done']:,} of {known['num_inputs']:,} have ended"
    return {**facts, "Status": known["status"]}


_COLUMNS = ["Call ID", "Index", "Attempt", "Function", "Status", "Ended at", "Queue", "Start-up", "Run", "CPU",
            "Memory", "Container ID", "Reason"]  # fmt: skip
_SPARE = ["CPU", "Memory", "Start-up", "Queue", "Attempt", "Index", "Container ID", "Run", "Ended at"]
_MOST_REASON = 120


def show_records(records: list[Any], *, as_json: bool, apps: bool = False) -> None:
    """A table of attempts, or all that is known of them. ``apps``: with the app of each."""
    if as_json:
        click.echo(json.dumps([{**one, "ended_at": listing.iso(one["ended_at"])} for one in records], indent=2))
        return
    rows = [
        [
            one["call_id"], one["index"], one["attempt"], *([one["app_name"]] if apps else []), one["function"],
            one["status"] if one["final"] else f"{one['status']}, again", listing.iso(one["ended_at"]),
            span(one["queue_seconds"]), span(one["start_seconds"] or None), span(one["run_seconds"]),
            span(one["cpu_seconds"]), size(one["memory_peak"]), one["container_id"] or "-", _short(one["reason"]),
        ]
        for one in records
    ]  # fmt: skip
    columns = [*_COLUMNS[:3], *(["App"] if apps else []), *_COLUMNS[3:]]
    listing.show(columns, rows, as_json=False, spare=_SPARE)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_REASON else line[: _MOST_REASON - 1] + "…"
