"""Levels of isolation that the machine of the tests offers; tests of others are skipped with the reason."""

from __future__ import annotations

import pytest

import windlass
from windlass import exception


def needed(app: windlass.App, level: str) -> None:
    try:
        windlass.Sandbox.create("true", app=app, runtime=level).wait()
    except exception.UnimplementedError as exc:
        pytest.skip(str(exc))
    except exception.ExecutionError as exc:  # the worker's word, which came after the server's
        if "not available here" not in str(exc):
            raise
        pytest.skip(str(exc))
