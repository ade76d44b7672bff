"""What an app had of the machines."""

from __future__ import annotations

from typing import NamedTuple


class Whose(NamedTuple):
    app: str
    """The id of the app."""
    name: str
    environment: str


class Held(NamedTuple):
    """Over some time: what was promised, in core-seconds, MiB-seconds and GPU-seconds; ``cpu``: seconds of processors
    that were really used, where the machine counts them; ``containers`` that began in that time."""

    cores: float = 0.0
    memory: float = 0.0
    gpus: float = 0.0
    cpu: float = 0.0
    containers: int = 0

    def plus(self, other: Held) -> Held:
        return Held(
            self.cores + other.cores, self.memory + other.memory, self.gpus + other.gpus, self.cpu + other.cpu,
            self.containers + other.containers,
        )  # fmt: skip


class Part(NamedTuple):
    """Of one app in one hour (counted since the epoch)."""

    whose: Whose
    hour: int
    held: Held
