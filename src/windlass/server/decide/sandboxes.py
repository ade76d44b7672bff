"""What a sandbox asks of the machine, how it ended, and when its time is over. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from windlass import exception
from windlass.server.decide import network
from windlass.server.state import moves
from windlass.wire.messages import containers, functions, sandboxes

POOL = "(sandboxes)"
"""Tag of what the sandboxes of an app are containers of: a function without code, which is never called."""

MEMORY = 32  # MiB promised to a sandbox that asked for none: most of them wait for their user
TIMED_OUT, KILLED = 124, 137
MOST_TIME = 86400.0
MEMORY_KEPT = 7 * 86400.0  # seconds
_NAME_SIZE, _COMMAND_SIZE = 64, 65536
_SAID = 1000  # characters of a command or a path
_HINTS = {
    "gvisor": "Install runsc (the package runsc, or gvisor.dev) and restart the platform; see `windlass doctor`.",
    "vm": "Install what it takes (qemu, virtiofsd, a kernel) and restart the platform; see `windlass doctor`.",
}
_START = 300.0  # seconds to come up


def pool() -> functions.FunctionSpec:
    """The function that an app's sandboxes belong to."""
    return container({
        "command": [], "image_id": "", "mounts": [], "secrets": [], "cpu_request": 0.0, "cpu_limit": 0.0,
        "memory_request": 0, "memory_limit": 0, "timeout": 0.0, "block_network": False,
    })  # fmt: skip


def container(spec: sandboxes.SandboxSpec) -> functions.FunctionSpec:
    """What a sandbox's container is made from, in the words of all containers."""
    made: Any = {
        "tag": POOL, "module": "", "qualname": "", "definition": "package", "serialized": None,
        "is_generator": False, "is_async": False, "python": "", "retries": None, "ephemeral_disk": 0,
        "autoscaler": {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 0.0},
        "single_use": False, "restrict_access": True, "startup_timeout": _START, **_shared(spec),
    }  # fmt: skip
    return made  # type: ignore[no-any-return]


def _shared(spec: sandboxes.SandboxSpec) -> dict[str, Any]:
    names = (
        "image_id", "mounts", "secrets", "cpu_request", "cpu_limit", "memory_limit", "timeout", "block_network",
        "volumes", "buckets", "nfs", "gpus", "outbound_cidrs", "outbound_domains", "proxy",
    )  # fmt: skip
    shared = {name: value for name, value in spec.items() if name in names}
    return {**shared, "memory_request": spec["memory_request"] or MEMORY}


def check(spec: sandboxes.SandboxSpec, name: str, tags: dict[str, str]) -> None:
    """Raises ``InvalidError`` for what no client of ours would send."""
    if sum(len(word.encode("utf-8", "surrogateescape")) for word in spec["command"]) > _COMMAND_SIZE:
        raise exception.InvalidError(f"the command is longer than {_COMMAND_SIZE:,} bytes")
    if not 0 < spec["timeout"] <= MOST_TIME:
        raise exception.InvalidError(f"timeout={spec['timeout']:g} must be between 1 and {MOST_TIME:.0f} seconds")
    if not 0 <= spec.get("idle_timeout", 0.0) <= MOST_TIME:
        raise exception.InvalidError("idle_timeout must be positive")
    network.check(spec)
    if len(name) >= _NAME_SIZE or len(tags) > 100 or any(len(k) + len(v) > 1024 for k, v in tags.items()):
        raise exception.InvalidError("the name or the tags are too long")


def check_level(spec: sandboxes.SandboxSpec, offered: Sequence[Mapping[str, str]]) -> None:
    """Raises ``UnimplementedError`` where no machine isolates sandboxes as asked. ``offered``: of each machine, why not
    each way, "" where it can."""
    level = spec.get("runtime", "")
    if not level:
        return
    if spec.get("gpus"):
        raise exception.InvalidError(f"a sandbox with runtime={level!r} has no GPUs", hint='Say runtime="container".')
    reasons = [levels.get(level, "its worker is older than this server") for levels in offered]
    if reasons and "" not in reasons:
        raise exception.UnimplementedError(
            f"runtime={level!r} is not available here: {reasons[0]}", hint=_HINTS.get(level, "See `windlass doctor`.")
        )


def check_memory(spec: sandboxes.SandboxSpec, execs: int) -> None:
    """Whether the memory of a sandbox may be kept now. Raises ``InvalidError``, ``ConflictError``."""
    if not spec.get("memory_snapshot"):
        raise exception.InvalidError(
            "this sandbox was not made for memory snapshots", hint="Sandbox.create(_experimental_enable_snapshot=True)"
        )
    if execs:
        raise exception.ConflictError(
            "commands run in this sandbox, so its memory cannot be kept", hint="Wait for what Sandbox.exec() began."
        )


def said(method: str, body: Mapping[str, Any]) -> str:
    """What the log of a verbose sandbox says of a request; "" for those that it does not tell: files are read and
    written in pieces, of which the first counts."""
    if method == "sandbox.exec":
        return f"exec: {shlex.join(body['command'])[:_SAID]}"
    if method == "sandbox.file" and not body.get("offset"):
        return f"file: {body['op']} {body['path'][:_SAID]}"
    return ""


def overdue(spec: sandboxes.SandboxSpec, started: float, idle_since: float, busy: int, now: float) -> str:
    """Why it must end now: "timeout", "idle", or "". ``busy``: commands in it, and connections from outside."""
    if now - started >= spec["timeout"]:
        return "timeout"
    idle = spec.get("idle_timeout", 0.0)
    return "idle" if idle and not busy and now - idle_since >= idle else ""


def figures(
    created: int, ended: Mapping[str, int], starts: Sequence[float], living: Sequence[moves.SandboxState]
) -> sandboxes.SandboxFigures:
    """``ended``: how many, by why. ``living``: the state of each that has not."""
    ordered = sorted(starts)
    running = sum(1 for one in living if one == moves.SandboxState.RUNNING)
    return {
        "created": created, "ended": sum(ended.values()),
        "timeouts": ended.get("timeout", 0) + ended.get("idle", 0), "terminated": ended.get("terminated", 0),
        "failed": ended.get("failed", 0) + ended.get("lost", 0),
        "waiting": len(living) - running, "running": running,
        "start": {"p50": _at(ordered, 0.5), "p99": _at(ordered, 0.99)},
    }  # fmt: skip


def _at(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def ending(why: str, exit: containers.ContainerExit) -> tuple[int, str, str]:
    """Exit code, reason and story of an end. ``why``: that of whoever ended it, if somebody did; what its command had
    printed until then tells nothing of that."""
    if why:
        return (TIMED_OUT if why == "timeout" else KILLED), why, ""
    reason = exit.get("reason", "lost")
    code = exit.get("exit_code")
    if reason == "oom":
        return (code or KILLED), "", f"it needed more memory than its limit of {exit.get('memory_limit', 0):,} bytes"
    if reason in ("exited", "signal") and code is not None:
        return code, "", exit.get("message", "")
    return KILLED, "failed" if reason == "start_failed" else "lost", exit.get("message", "")
