"""Tests of one module do not see the apps of another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stage import Stage, until


@pytest.fixture(autouse=True, scope="module")
def no_app_stays(stage: Stage) -> Iterator[None]:
    yield
    for app_id in _living(stage):
        ran = stage.cli("app", "stop", app_id, "--yes")
        assert ran.code == 0 or app_id not in _living(stage), ran.text  # it may have ended by itself just now
    until(lambda: not stage.containers(), 40, "no containers of the module's apps")


def _living(stage: Stage) -> list[str]:
    environments = [one["name"] for one in stage.json("environment", "list")]
    apps = [app for name in environments for app in stage.json("app", "list", "-e", name)]
    return [app["app_id"] for app in apps if app["state"] not in ("stopping", "stopped")]
