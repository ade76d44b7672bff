"""Exact versions for a step, as a lock says, in the words of pip, uv and apt: all that the step calls keeps to them.

Handed over by environment and a read-only mount: nothing of it reaches the layer. What keeps to no version by itself
(a download, a compiler's output) is not pinned; the lock's check of the result is the last word.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from windlass.wire.messages import images

PLACE = "/__windlass/pins"
"""Where a step finds the files."""

# pip puts these into the environments in which it builds packages, which ask for versions of their own.
_TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})
_FIRST = 1001  # above everything: apt then takes this version, also an older one


def environment() -> dict[str, str]:
    """The variables that make pip, uv and apt read the files."""
    constraints = f"{PLACE}/constraints.txt"
    return {"PIP_CONSTRAINT": constraints, "UV_CONSTRAINT": constraints, "APT_CONFIG": f"{PLACE}/apt.conf"}


def write(folder: Path, pins: images.Inventory, *, apt: Sequence[str]) -> None:
    """Put the files into ``folder``. ``apt``: the machine's own options, which hold as before."""
    (folder / "constraints.txt").write_text(_constraints(pins["python"]))
    (folder / "preferences").write_text(_preferences(pins["debian"]))
    lines = [*apt, f'Dir::Etc::Preferences "{PLACE}/preferences";']
    (folder / "apt.conf").write_text("".join(f"{line}\n" for line in lines))


def _constraints(packages: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in packages.items() if name not in _TOOLS)


def _preferences(packages: Mapping[str, str]) -> str:
    return "\n".join(
        f"Package: {name}\nPin: version {version}\nPin-Priority: {_FIRST}\n" for name, version in packages.items()
    )
