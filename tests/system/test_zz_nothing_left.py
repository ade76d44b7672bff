"""The last of the system tests: a platform that is stopped leaves nothing but files in its home, and starts again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import leftovers
from programs import survivors
from stage import Stage, until


def test_a_stopped_platform_leaves_nothing_and_starts_again(stage):
    with survivors.app.run():
        survivors.nap.spawn(600)  # in the middle of work
        until(lambda: stage.payloads(), what="a container")
        stage.stop()
        assert leftovers.look(stage.home) == []
        assert stage.cli("server", "status").code == 1
        stage.start()
    assert stage.cli("server", "status").code == 0


def test_a_platform_whose_supervisor_was_killed_is_cleared_up_by_stop(stage):
    import os
    import signal

    with survivors.app.run():
        survivors.nap.remote(0)
        os.kill(stage.pid("supervisor"), signal.SIGKILL)
        stage.stop()
        assert leftovers.look(stage.home) == []
        stage.start()


def test_a_fresh_home_needs_no_preparation():
    with tempfile.TemporaryDirectory(prefix="wl-fresh-") as folder:
        platform = Stage(Path(folder) / "a home" / "with spaces")
        assert platform.cli("app", "list", "--json", check=0).out.strip() == "[]"
        platform.stop()
        assert leftovers.look(platform.home) == []
