"""Tests of one module do not see the apps of another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stage import Stage, until


@pytest.fixture(autouse=True, scope="module")
def no_app_stays(stage: Stage) -> Iterator[None]:
    yield
    for environment in stage.json("environment", "list"):
        for app in stage.json("app", "list", "-e", environment["name"]):
            if app["state"] not in ("stopping", "stopped"):
                stage.cli("app", "stop", app["app_id"], "--yes", check=0)
    until(lambda: not stage.containers(), 40, "no containers of the module's apps")
