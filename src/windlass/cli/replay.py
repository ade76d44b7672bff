"""Running a recorded input again, from what the server kept: arguments, spec, files.

In a container: a short-lived app of the same functions is made and the input is a call in it, so that neither the
original nor its app notices, and a stopped app can be replayed as well. Locally: files and arguments are laid into a
temporary folder, and a process of its own (``rerun``) imports the code from there.
"""
from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from windlass import exception, paths
from windlass.cli import control, failure, render
from windlass.client import blobs as blob_transfer
from windlass.client import bridge, output, outputs, run, session
from windlass.kit import ids, tasks
from windlass.wire import payload

if TYPE_CHECKING:
    from windlass.wire.messages import calls, functions, images, records

_LAST_LOGS = 10.0


def in_container(call_id: str, index: int, *, timestamps: bool) -> None:
    """Print what the function prints, and its result. Raises what it raises, as ``UserCodeError``."""
    control.ensure(paths.home())
    with render.open_output(show_progress=False, timestamps=timestamps) as shown:
        arrived = bridge.run(_replayed(call_id, index, shown))
    try:
        value = arrived.open()
    except exception.DeserializationError:
        click.echo("It succeeded; its result cannot be shown without the program's own modules.", err=True)
    except Exception as exc:
        raise failure.UserCodeError(str(exc)) from exc
    else:
        click.echo(f"It returned {value!r}", err=True)


async def _replayed(call_id: str, index: int, shown: output.Output) -> outputs.Arrived:
    home = session.current()
    found, data = await _recorded(home, call_id, index)
    _warn_of_secrets(found)
    app_id, new = ids.new("ap"), ids.new("fc")
    await home.request("app.create", {
        "app_id": app_id, "name": None, "description": f"replay of {call_id}", "state": "ephemeral",
        "environment": found["app"]["environment"],
    })  # fmt: skip
    async with tasks.Tasks(lambda name, exc: None) as owner:
        logs = owner.start(run.follow_logs(home, {"app_id": app_id}, shown), "logs")
        owner.start(_beat(home, app_id), "heartbeat")
        try:
            function_id = await _functions(home, app_id, found)
            attachments: list[Any] = []
            item: calls.InputItem = {"index": 0, "payload": await blob_transfer.pack(home, data, attachments)}
            create: calls.CallCreate = {
                "call_id": new, "function_id": function_id, "kind": "remote", "inputs": [item], "closed": True,
            }  # fmt: skip
            if found["method"]:
                create["method"] = found["method"]
            shown.notice(f"Running input {index} of {call_id} again as {new}")
            return await outputs.first(home, create, attachments)
        finally:
            await home.request("app.stop", {"app_id": app_id, "reason": "done"})
            await asyncio.wait([logs], timeout=_LAST_LOGS)


async def _recorded(home: session.Session, call_id: str, index: int) -> tuple[records.RecordedInput, Any]:
    reply = await home.request("call.input", {"call_id": call_id, "index": index})
    found: records.RecordedInput = reply.body
    return found, await blob_transfer.unpack(home, found["arguments"], reply.attachments)


async def _functions(home: session.Session, app_id: str, found: records.RecordedInput) -> str:
    """Make all functions of the app, for they may call each other; the id of the one to call."""
    made: dict[str, str] = {}
    for tag, spec in found["app"]["functions"].items():
        made[tag] = ids.new("fu")
        body = {"app_id": app_id, "function_id": made[tag], "spec": _quiet(spec, found["lost_secrets"])}
        await home.request("function.create", body)
    await home.request("app.publish", {"app_id": app_id, "functions": made})
    function_id = made[found["tag"]]
    if not found["parameters"] and not found["overrides"]:
        return function_id
    overrides = {key: value for key, value in found["overrides"].items() if key != "retries"}
    for key in ("secrets", "more_secrets"):
        if key in overrides:
            overrides[key] = [one for one in found["overrides"][key] if one not in found["lost_secrets"]]
    bind = {"function_id": function_id, "parameters": found["parameters"], "overrides": overrides}
    return str((await home.request("function.bind", bind)).body["function_id"])


def _quiet(spec: functions.FunctionSpec, lost: list[str]) -> Any:
    """``spec`` for one try: nothing is kept warm, nothing fires by itself, a failure is shown at once."""
    quiet: dict[str, Any] = {
        **spec,
        "retries": None,
        "secrets": [one for one in spec["secrets"] if one not in lost],
        "autoscaler": {**spec["autoscaler"], "min_containers": 0, "buffer_containers": 0},
    }
    quiet.pop("schedule", None)
    return quiet


def _warn_of_secrets(found: records.RecordedInput) -> None:
    if found["lost_secrets"]:
        click.echo(
            f"Warning: secrets of the app have been deleted with it ({', '.join(found['lost_secrets'])}); "
            "the replay runs without them.",
            err=True,
        )


async def _beat(home: session.Session, app_id: str) -> None:
    while True:
        await asyncio.sleep(run.HEARTBEAT)
        await home.request("app.heartbeat", {"app_id": app_id})


# -- on this machine


def locally(call_id: str, index: int, *, debug: bool, step: bool) -> int:
    """The exit code of a process of this Python that ran the input; it has our terminal."""
    control.ensure(paths.home(), worker=False)
    with tempfile.TemporaryDirectory(prefix="windlass-replay-") as name:
        folder = Path(name)
        spec = bridge.run(_lay_out(call_id, index, folder))
        _warn_of_python(spec)
        argv = [sys.executable, "-m", "windlass.cli.rerun", name]
        argv += [flag for flag, wanted in (("--debug", debug), ("--step", step)) if wanted]
        library = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the terminal
        try:
            code = subprocess.run(argv, cwd="/", env={**os.environ, "PYTHONPATH": search}, check=False).returncode
        finally:
            signal.signal(signal.SIGINT, before)
        return code if code >= 0 else 128 - code


async def _lay_out(call_id: str, index: int, folder: Path) -> functions.FunctionSpec:
    """``files/``: the mounts as containers see them; ``arguments``, ``function`` and ``input.json`` beside them."""
    home = session.current()
    found, data = await _recorded(home, call_id, index)
    spec = found["app"]["functions"][found["tag"]]
    outside: set[str] = set()
    for digest in spec["mounts"]:
        outside |= await _materialise(home, digest, folder / "files")
    (folder / "files" / "root").mkdir(parents=True, exist_ok=True)
    (folder / "arguments").write_bytes(data)
    if spec["serialized"]:
        (folder / "function").write_bytes(await _blob(home, spec["serialized"]))
    about = {"spec": spec, "method": found["method"], "parameters": found["parameters"], "call_id": call_id}
    (folder / "input.json").write_text(json.dumps(about))
    if spec["secrets"]:
        click.echo("Warning: the function's secrets are not set here: set the variables yourself if need be.", err=True)
    for top in sorted(outside):
        click.echo(f"Warning: what containers have at /{top} is at {folder / 'files' / top} here.", err=True)
    return spec


async def _materialise(home: session.Session, digest: str, place: Path) -> set[str]:
    """Write the files of a mount; the names at the container's top, but for root's home, that it has files in."""
    manifest: images.MountManifest = json.loads(await _blob(home, digest))
    tops = set()
    for file in manifest["files"]:
        inside = PurePosixPath(file["path"])
        if inside.is_absolute() or ".." in inside.parts:
            raise exception.DataLossError(f"the file {file['path']!r} of a mount lies outside of it")
        target = place / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(await blob_transfer.fetch(home, file["digest"], file["size"]))
        target.chmod(file["mode"])
        if inside.parts[0] != "root":
            tops.add(inside.parts[0])
    return tops


async def _blob(home: session.Session, digest: str) -> bytes:
    """A blob of unknown size."""
    pieces = [bytes(r.attachments[0]) async for r in home.stream("blob.get", {"digest": digest, "offset": 0})]
    data = b"".join(pieces)
    if payload.digest(data) != digest:
        raise payload.damaged(digest)
    return data


def _warn_of_python(spec: functions.FunctionSpec) -> None:
    ours, theirs = f"{sys.version_info[0]}.{sys.version_info[1]}", spec["python"]
    if theirs == ours:
        return
    if spec["definition"] == "serialized":
        raise exception.ExecutionError(
            f"the function was pickled by Python {theirs}; this is Python {ours}",
            hint="Replay it in a container, or run windlass with that Python.",
        )
    click.echo(f"Warning: the call ran with Python {theirs}; this is Python {ours}.", err=True)
