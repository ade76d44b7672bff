"""Versions of apps: published whole, listed, brought back.

    app.deploy ─► version 1 ─► version 2 ─► … each in one transaction; app.rollback publishes an old one as the next
"""
from __future__ import annotations

from typing import TypedDict

from windlass.wire.messages.functions import FunctionInfo, FunctionSpec


class Commit(TypedDict):
    """What git says about the folder that was deployed from; best effort."""

    hash: str
    branch: str
    dirty: bool
    author: str


class Facts(TypedDict, total=False):
    """Who deployed, with what, from where. ``client``: the version of the library. ``tag``: the user's own word.

    ``rollback``: the version that was brought back; ``rollover``: only its containers are new.
    """

    client: str
    by: str
    commit: Commit
    tag: str
    rollback: int
    rollover: bool


class Part(TypedDict):
    """One function of a version. The id is the one that the app knows by this tag, or a new one."""

    function_id: str
    spec: FunctionSpec


class AppDeploy(TypedDict, total=False):
    """Let these functions, all at once, be what the app consists of. Functions that it does not name are removed.

    A deployed app is found by ``name`` and ``environment``, or made under ``app_id``; one that runs (`windlass serve`)
    by ``app_id`` alone. ``deploy_id`` is chosen by the client: repeating is harmless. ``strategy``: "rolling" or
    "recreate". ``local_name``: what the code calls the app.
    """

    app_id: str
    deploy_id: str
    name: str
    environment: str
    local_name: str | None
    tags: dict[str, str]
    functions: dict[str, Part]
    strategy: str
    facts: Facts


class AppDeployed(TypedDict):
    """``skipped``: it is the current version already. ``leaving``: containers that were told to stop (recreate)."""

    app_id: str
    version: int
    skipped: bool
    functions: dict[str, FunctionInfo]
    leaving: list[str]


class AppReturn(TypedDict, total=False):
    """To an old version (None: the one before the current), or with ``rollover`` to the current one: new containers."""

    app_id: str
    deploy_id: str
    version: int | None
    rollover: bool
    strategy: str
    facts: Facts


class Version(TypedDict):
    version: int
    deployed_at: float
    facts: Facts


class AppHistory(TypedDict):
    """Newest first."""

    versions: list[Version]


class AppTags(TypedDict, total=False):
    """``tags``, where given, replace all that there are. Answered with what holds then."""

    app_id: str
    tags: dict[str, str]


class Tags(TypedDict):
    tags: dict[str, str]
