"""Environments: parts of a workspace, each with apps and names of its own."""
from __future__ import annotations

from typing import TypedDict


class EnvironmentRef(TypedDict):
    name: str


class _EnvironmentCreate(TypedDict):
    name: str


class EnvironmentCreate(_EnvironmentCreate, total=False):
    """``default_role``: what members are there who were given no role of their own; absent: contributor."""

    default_role: str


class EnvironmentUpdate(TypedDict, total=False):
    """Present keys are set. ``set_image_builder_version``: "" is the server's own."""

    name: str
    set_name: str
    set_web_suffix: str
    set_image_builder_version: str


class _EnvironmentInfo(TypedDict):

    environment_id: str
    name: str
    web_suffix: str
    created_at: float
    default: bool
    default_role: str
    apps: int


class EnvironmentInfo(_EnvironmentInfo, total=False):
    """``default``: what is meant where none is named. ``apps``: that live in it.

    ``default_role``: contributor, unless it is restricted. ``image_builder_version``: "" for the server's own.
    """

    image_builder_version: str


class EnvironmentList(TypedDict):
    """Oldest first."""

    environments: list[EnvironmentInfo]
