"""Environments: parts of a workspace, each with apps and names of its own."""
from __future__ import annotations

from typing import TypedDict


class EnvironmentRef(TypedDict):
    name: str


class EnvironmentUpdate(TypedDict, total=False):
    """Present keys are set."""

    name: str
    set_name: str
    set_web_suffix: str


class EnvironmentInfo(TypedDict):
    """``default``: what is meant where none is named. ``apps``: that live in it."""

    environment_id: str
    name: str
    web_suffix: str
    created_at: float
    default: bool
    apps: int


class EnvironmentList(TypedDict):
    """Oldest first."""

    environments: list[EnvironmentInfo]
