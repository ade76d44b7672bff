"""What the runner says of what an input cost, and of its own start."""
from __future__ import annotations

import time

from runner import scripted
from windlass.runner import usage


def test_short_inputs_are_not_measured_and_long_ones_are():
    began = usage.begin(time.monotonic())
    assert usage.end(began, 0.001) == {}
    held = bytearray(32 * 1024 * 1024)
    told = usage.end(began, 1.0)
    assert told["cpu"] >= 0 and told["peak"] > len(held)


def test_an_output_says_what_its_input_used_with_its_child_processes_and_the_start_what_took_its_time():
    code = """
        import subprocess, sys, time
        time.sleep(0.05)
        BURN = "import time\\nwhile time.process_time() < 0.15: pass"
        def f(how):
            if how == "child":
                subprocess.run([sys.executable, "-c", BURN], check=True)
            elif how == "sleep":
                time.sleep(0.05)
    """

    async def script(s: scripted.Stage) -> None:
        (sleeps,) = s.lease(("sleep",))
        slept = await s.end_of(sleeps)
        assert slept["seconds"] >= 0.05 and slept["cpu"] < slept["seconds"] and slept["peak"] > 1 << 20
        (child,) = s.lease(("child",))  # not before: an input that waits behind a slow one is given back
        assert (await s.end_of(child))["cpu"] >= 0.1
        (ready,) = s.seen["runner.ready"]
        assert 0.05 <= ready["phases"]["import"] < 20 and 0 <= ready["phases"]["enter"] < 20

    scripted.play(code, script)


def test_an_exception_that_came_from_another_container_travels_on():
    code = """
        from windlass.client import failure
        def f():
            frame = {"file": "/root/other.py", "line": 3, "name": "g", "text": "raise KeyError(1)"}
            raise failure.splice(KeyError(1), {"frames": [frame], "traceback": ""})
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(())
        output = await s.end_of(name)
        assert isinstance(s.value(output), KeyError)

    scripted.play(code, script)
