"""States are closed lists, transitions are tables."""

from __future__ import annotations

import enum

from windlass import exception


class InputState(enum.IntEnum):
    """``ready ─► leased ─► done``; a lease that ends without a result goes back to ``ready``, or to ``delayed`` when a
    retry waits for its time."""

    READY = 0
    LEASED = 1
    DONE = 2
    DELAYED = 3


class ContainerState(enum.IntEnum):
    """``pending ─► starting ─► ready ─► draining ─► stopping ─► gone``, any of them may be skipped forward.

    pending: wanted, the worker has not said a word. starting: made, the user's code is being imported.
    ready: takes inputs. draining: finishes what it has. stopping: asked to end. gone: reported ended.
    """

    PENDING = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    STOPPING = 4
    GONE = 5


class AppState(enum.IntEnum):
    """``initializing ─► ephemeral | detached | deployed ─► stopping ─► stopped``."""

    INITIALIZING = 0
    EPHEMERAL = 1
    DETACHED = 2
    DEPLOYED = 3
    STOPPING = 4
    STOPPED = 5


class SandboxState(enum.IntEnum):
    """``queued ─► starting ─► running ─► finished``, any of them may be skipped forward.

    queued: waits for room on a machine. starting: has a container. running: its command has begun.
    """

    QUEUED = 0
    STARTING = 1
    RUNNING = 2
    FINISHED = 3


class Kind(enum.IntEnum):
    """What a call is for. The caller of all but ``SPAWN`` waits for it."""

    REMOTE = 0
    MAP = 1
    SPAWN = 2
    GEN = 3


class Status(enum.IntEnum):
    """How an input ended, or ``ITEM`` for one value of a generator."""

    SUCCESS = 0
    FAILURE = 1
    TIMEOUT = 2
    TERMINATED = 3
    INIT_FAILURE = 4
    CRASH = 5
    ITEM = 6


INPUT_MOVES: dict[InputState, frozenset[InputState]] = {
    InputState.READY: frozenset({InputState.LEASED, InputState.DONE}),
    InputState.LEASED: frozenset({InputState.READY, InputState.DELAYED, InputState.DONE}),
    InputState.DELAYED: frozenset({InputState.READY, InputState.DONE}),
    InputState.DONE: frozenset(),
}

APP_NAMES = {
    AppState.INITIALIZING: "initializing",
    AppState.EPHEMERAL: "ephemeral",
    AppState.DETACHED: "ephemeral (detached)",
    AppState.DEPLOYED: "deployed",
    AppState.STOPPING: "stopping",
    AppState.STOPPED: "stopped",
}

SANDBOX_NAMES = {
    SandboxState.QUEUED: "queued",
    SandboxState.STARTING: "starting",
    SandboxState.RUNNING: "running",
    SandboxState.FINISHED: "finished",
}

CONTAINER_NAMES = {
    ContainerState.PENDING: "starting",
    ContainerState.STARTING: "starting",
    ContainerState.READY: "ready",
    ContainerState.DRAINING: "draining",
    ContainerState.STOPPING: "stopping",
}


def container_may(old: ContainerState, new: ContainerState) -> bool:
    """Containers only grow older."""
    return new > old


def check_input(old: InputState, new: InputState, story: str) -> None:
    """Refuse an illegal move; ``story`` names the input and what was about to happen."""
    if new not in INPUT_MOVES[old]:
        raise exception.InternalError(f"an input cannot go from {old.name} to {new.name}: {story}")
