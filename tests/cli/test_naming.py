"""What commands understand as the name of a function, or of a version."""
from __future__ import annotations

from typing import Any

import pytest

from windlass import exception
from windlass.cli import ask, function, volume

APPS: list[Any] = [
    {"app_id": "ap-1", "name": "shop", "description": "shop", "state": "deployed",
     "functions": {"f": "fu-1", "Model.*": "fu-2"}},
    {"app_id": "ap-2", "name": "shop.eu", "description": "shop.eu", "state": "deployed", "functions": {"g": "fu-3"}},
    {"app_id": "ap-3", "name": None, "description": "job", "state": "running", "functions": {"f": "fu-4"}},
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("shop.f", "fu-1"), ("job.f", "fu-4"), ("shop.Model", "fu-2"), ("shop.Model.predict", "fu-2"),
     ("Model.predict", "fu-2"), ("shop.eu.g", "fu-3"), ("ap-3.f", "fu-4"), ("g", "fu-3")],
)  # fmt: skip
def test_a_function_is_named_by_itself_or_with_its_app(wanted, found, monkeypatch):
    monkeypatch.setattr(ask, "request", lambda method, body: {"apps": APPS})
    assert function.find(wanted, None, None) == found


@pytest.mark.parametrize("wanted", ["shop.none", "none.f", "shop."])
def test_a_name_that_nothing_has_is_said_with_the_next_step(wanted, monkeypatch):
    monkeypatch.setattr(ask, "request", lambda method, body: {"apps": APPS})
    with pytest.raises(exception.NotFoundError, match="there is no function"):
        function.find(wanted, None, None)


@pytest.mark.parametrize("kept", [[3, 2], []])
def test_a_version_that_a_volume_does_not_have_is_refused_before_anybody_is_asked(kept, monkeypatch):
    monkeypatch.setattr(ask, "request", lambda method, body: {"versions": [{"version": one} for one in kept]})
    with pytest.raises(exception.NotFoundError, match="no version 99") as caught:
        volume._check_version("vo-1", "data", 99)
    assert ("It has 3, 2." if kept else "Nothing was ever committed") in caught.value.hint
