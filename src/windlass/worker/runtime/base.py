"""The contract between the agent and whatever runs containers.

A runtime opens a container from the server's plan and hands out a ``Running``. Leaving the ``async with`` block gives
everything back; leaving it by cancellation (the worker ends) leaves the container alone, so that the next worker can
``adopt`` it.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from socket import socket
from typing import NamedTuple, Protocol

from windlass.kit import tasks
from windlass.wire.messages import containers, workers
from windlass.wire.messages import images as image_messages
from windlass.worker import network
from windlass.worker.images import store
from windlass.worker.sandboxes import box, execs, starting
from windlass.worker.volumes import service as volume_service

ISOLATION = "isolation"  # own namespaces, file system and limits
IMAGES = "images"  # builds layers; without it every build succeeds and does nothing


class Command(NamedTuple):
    """A program for the worker to start on its own side."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    pid_file: Path | None = None
    """Where the runtime writes the pid that the program has inside the container."""


class Running(Protocol):
    """A container with its first process started."""

    container_id: str
    log: Path
    """The output so far, in the format of conmon's ``k8s-file`` (``worker.streams`` reads it)."""

    async def wait(self) -> containers.ContainerExit:
        """Why it ended, once it has."""

    def interrupt(self) -> None:
        """Ask its first process to stop (SIGINT)."""

    def kill(self) -> None:
        """End all its processes now."""


class Runtime(Protocol):
    """Runs containers on this machine. Is an async context manager itself."""

    name: str
    abilities: frozenset[str]
    gaps: Sequence[str]
    """Protections that this host cannot give, one sentence each."""
    store: store.Store
    """The images that are here."""
    volumes: volume_service.Volumes | None
    """The volumes; None where containers cannot mount any."""
    network: network.NetworkPool | None
    """Networks of containers; None where these have the machine's."""

    @property
    def levels(self) -> Mapping[str, str]:
        """Why each way to isolate sandboxes is not there, "" where it is; it may change."""

    def open(self, plan: containers.ContainerPlan) -> AbstractAsyncContextManager[Running]:
        """Make the container and start it. Raises ``windlass.exception.Error`` with the reason where it cannot."""

    async def prepare(self, plan: containers.ContainerPlan) -> None:
        """Wait for what user code must do before such a container can be opened. Raises nothing of its own."""

    def adopt(self, container_id: str) -> AbstractAsyncContextManager[Running]:
        """Take over a container that an earlier worker left. Raises ``NotFoundError`` where it lives no more."""

    def known(self) -> list[str]:
        """Containers that left something on this machine, alive or not."""

    def command(self, container_id: str, argv: Sequence[str], *, pty: bool) -> Command:
        """What to start here so that ``argv`` runs inside the container."""

    @property
    def starter(self) -> starting.Starting:
        """What starts commands in sandboxes. Raises ``UnimplementedError`` where there are none."""

    def commands(self, home: box.Home, owner: tasks.Tasks) -> execs.Starter:
        """What starts commands in a sandbox that runs. Raises ``UnimplementedError`` where its level is gone."""

    async def port(self, home: box.Home, number: int) -> socket:
        """A connection with a port of a sandbox. Raises ``ConflictError`` where nobody listens."""

    async def settle(self, home: box.Home) -> None:
        """Have what a sandbox wrote reach its files, so that they can be copied."""

    def memory(self, home: box.Home) -> AbstractAsyncContextManager[Path]:
        """Write a sandbox's memory into a folder (``memories.taken``). Raises ``UnimplementedError``."""

    def sandbox(self, container_id: str) -> box.Home:
        """A sandbox that runs, as a place for commands and files. Raises ``ConflictError`` where it does not run."""

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        """Make one layer. Raises ``ImageBuildError``."""

    def keep_templates(self, functions: Collection[str]) -> None:
        """Give up templates of all other functions; containers that came from them go on."""

    def templates(self) -> list[str]:
        """The function of each template that there is."""

    def images(self) -> list[str]:
        """Ids of the layers that are here."""

    def contents(self, image_id: str) -> image_messages.Contents:
        """What is installed in an image. Reads many files: for a thread. Raises ``NotFoundError``."""
