"""What is left of a container whose start broke off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import types
from pathlib import Path

import pytest

from stage import until
from windlass import exception
from windlass.worker import folder, launch


@pytest.mark.parametrize("error", [exception.ExecutionError("no keeper"), BlockingIOError("too many processes")])
def test_nothing_is_left_running_whatever_a_start_broke_off_with(tmp_path, error):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "ta-x"]) as first:
        (tmp_path / "pid").write_text(str(first.pid))
        until(lambda: folder.mentions(first.pid, "ta-x"), what="its command line")  # it comes a moment after it began

        class Folder:
            container_id = "ta-x"
            pid_file = tmp_path / "pid"
            monitor_file = tmp_path / "none"

        def broken(folder, *, enter, created):
            raise error

        group = types.SimpleNamespace(enter_argv=list)
        try:
            with pytest.raises(type(error)):
                asyncio.run(launch._launched(types.SimpleNamespace(launch=broken), Folder, group, Path("/ns"), None))
            assert first.wait(5) == -9
        finally:
            first.kill()
