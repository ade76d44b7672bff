"""Real layers, stacked by the kernel in a mount namespace of the test's own."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from windlass.worker import linux


@pytest.fixture
def apart() -> Callable[..., Any]:
    """Calls a function in a process that may mount, and returns what it returns."""
    if os.geteuid() != 0:
        pytest.skip("needs to mount: the tests of the system do the same for ordinary users")

    def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                try:
                    linux.unshare(linux.NEWNS)
                    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
                    pickle.dump((True, function(*arguments, **options)), pipe)
                except BaseException:
                    pickle.dump((False, traceback.format_exc()), pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            good, value = pickle.load(pipe)
        os.waitpid(child, 0)
        assert good, value
        return value

    return call
