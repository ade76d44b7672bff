"""What the runner promises, told by a scripted server to a real process."""
from __future__ import annotations

import asyncio
import time

import cloudpickle
import pytest

from runner import scripted
from windlass import exception
from windlass.wire import payload

INPUT = "in-1111111111111111%06d"
FLOOD = [(0.0005,)] * 20


def test_inputs_run_in_order_and_their_values_come_back():
    async def script(s: scripted.Stage) -> None:
        s.again = True
        names = s.lease(*[(n,) for n in range(200)])
        await s.until(lambda: len(s.ends) == 200)
        assert [o["input_id"] for o in s.outputs] == names
        assert [s.value(o) for o in s.outputs] == [n * n for n in range(200)]
        s.stop(graceful=True)
        assert await s.exit_code() == 0

    scripted.play("def f(n): return n * n", script)


def test_user_code_finds_itself_where_a_script_would_be():
    code = """
        import os, sys, json
        def f():
            import windlass, modal
            return {
                "path": sys.path[0], "main": "boot" in repr(sys.modules["__main__"]), "modal": modal is windlass,
                "remote": os.environ["MODAL_IS_REMOTE"] + os.environ["WINDLASS_IS_REMOTE"],
                "task": os.environ["MODAL_TASK_ID"],
                "token": any("secret" in v for v in os.environ.values()), "local": windlass.is_local(),
                "input": windlass.current_input_id(), "call": windlass.current_function_call_id(),
            }
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(())
        value = s.value(await s.end_of(name))
        assert value == {
            "path": str(s.folder / "code"), "main": False, "modal": True, "remote": "11", "task": "ta-1",
            "token": False, "local": False, "input": name, "call": scripted.CALL,
        }

    scripted.play(code, script)


def test_a_failure_carries_the_exception_and_the_users_frames_only():
    code = """
        def inner(x):
            raise KeyError(x)
        def f(x):
            try:
                inner(x)
            except KeyError as exc:
                raise ValueError("outer") from exc
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(("k",))
        output = await s.end_of(name)
        failure = output["failure"]
        assert output["status"] == "failure"
        assert isinstance(s.value(output), ValueError)
        assert failure["kind"] == "ValueError" and failure["repr"] == "ValueError('outer')"
        assert [(f["name"], f["text"]) for f in failure["frames"]] == [("f", 'raise ValueError("outer") from exc')]
        assert "KeyError: 'k'" in failure["traceback"] and "raise KeyError(x)" in failure["traceback"]
        assert "direct cause" in failure["traceback"] and "windlass" not in failure["traceback"]
        (name,) = s.lease(("again",))
        assert (await s.end_of(name))["status"] == "failure"

    scripted.play(code, script)


def test_what_cannot_be_pickled_fails_alone():
    code = """
        import threading
        class Odd(Exception):
            def __init__(self): self.lock = threading.Lock()
        def f(what):
            if what == "value": return threading.Lock()
            if what == "error": raise Odd()
            return what
    """

    async def script(s: scripted.Stage) -> None:
        s.again = True
        value, error, good = s.lease(("value",), ("error",), ("good",))
        assert isinstance(s.value(await s.end_of(value)), exception.SerializationError)
        failure = (await s.end_of(error))["failure"]
        assert "error" not in failure and failure["kind"] == "job.Odd" and "raise Odd()" in failure["traceback"]
        assert s.value(await s.end_of(good)) == "good"

    scripted.play(code, script)


def test_enormous_messages_and_endless_recursion_are_cut():
    code = """
        def f(deep):
            if deep: return f(deep)
            raise ValueError("x" * 30_000_000)
    """

    async def script(s: scripted.Stage) -> None:
        (long,) = s.lease((0,))
        assert len((await s.end_of(long))["failure"]["repr"]) < 30_000
        (deep,) = s.lease((1,))
        failure = (await s.end_of(deep))["failure"]
        assert failure["kind"] == "RecursionError" and len(failure["frames"]) == 100

    scripted.play(code, script)


def test_child_processes_die_of_signals_like_any_other():
    code = """
        import multiprocessing, time
        def sleep(begun):
            begun.send(True)
            time.sleep(30)
        def f():
            context = multiprocessing.get_context("fork")
            begins, begun = context.Pipe(duplex=False)
            child = context.Process(target=sleep, args=(begun,))
            child.start()
            begins.recv()
            child.terminate()
            child.join()
            return child.exitcode
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(())
        assert s.value(await s.end_of(name)) == -15

    scripted.play(code, script)


def test_arguments_that_cannot_be_unpickled_fail_alone():
    async def script(s: scripted.Stage) -> None:
        data = payload.dumps(((1,), {})).replace(b"K\x01", b"\xff\xff")
        place = {"at": 0, "size": 1}
        lease = {"input_id": INPUT % 0, "call_id": scripted.CALL, "attempt": 1, "retries": 0, "payload": place}
        s.peer.notify("runner.lease", {"leases": [lease]}, [data])
        assert isinstance(s.value(await s.end_of(INPUT % 0)), exception.DeserializationError)

    scripted.play("def f(x): return x", script)


def test_large_values_travel_as_blobs_both_ways():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((b"x" * 3_000_000,))
        output = await s.end_of(name)
        assert "blob" in output["value"] and s.value(output) == b"y" * 6_000_000
        assert payload.digest(bytes(s.blobs[output["value"]["blob"]])) == output["value"]["blob"]

    scripted.play("def f(x): return b'y' * (2 * len(x))", script)


def test_a_serialized_function_is_fetched():
    def make():
        base = 40
        return cloudpickle.dumps(lambda x: base + x)

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((2,))
        assert s.value(await s.end_of(name)) == 42

    data = make()
    digest = payload.digest(data)
    scripted.play("", script, definition="serialized", serialized=digest, blobs={digest: bytearray(data)})


def test_async_functions_and_their_background_tasks_run():
    code = """
        import asyncio
        beats = 0
        async def beat():
            global beats
            while True:
                await asyncio.sleep(0.005)
                beats += 1
        async def f(x):
            if x == 0:
                f.task = asyncio.get_running_loop().create_task(beat())
            await asyncio.sleep(0)
            return beats
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((0,))
        assert s.value(await s.end_of(name)) == 0
        await asyncio.sleep(0.5)  # while it waits for work, the loop goes on
        (name,) = s.lease((1,))
        assert s.value(await s.end_of(name)) >= 3
        s.stop(graceful=True)
        assert await s.exit_code() == 0

    scripted.play(code, script, is_async=True)


def _generator_script(count: int):
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((count,))
        end = await s.end_of(name)
        assert end["status"] == "success" and end["items"] == count
        items = [o for o in s.outputs if o["status"] == "item"]
        assert [o["item"] for o in items] == list(range(count)) and [s.value(o) for o in items] == list(range(count))
        (name,) = s.lease((-1,))
        end = await s.end_of(name)
        assert end["status"] == "failure" and isinstance(s.value(end), ZeroDivisionError)

    return script


def test_generators_yield_item_by_item():
    code = """
        def f(n):
            yield from range(n)
            if n < 0: 1 / 0
    """
    scripted.play(code, _generator_script(1000), is_generator=True)


def test_async_generators_yield_item_by_item():
    code = """
        async def f(n):
            for i in range(n):
                yield i
            if n < 0: 1 / 0
    """
    scripted.play(code, _generator_script(300), is_generator=True, is_async=True)


def test_a_plain_function_may_return_a_generator():
    code = """
        def numbers(n):
            yield from range(n)
            if n < 0: 1 / 0
        def f(n): return numbers(n)
    """
    scripted.play(code, _generator_script(3), is_generator=True)


def test_a_generator_waits_while_its_items_are_not_taken():
    code = """
        def f():
            n = 0
            while True:
                yield n
                n += 1
    """

    async def script(s: scripted.Stage) -> None:
        s.deaf = True
        (name,) = s.lease(())
        await s.until(lambda: len(s.outputs) >= 100)
        await asyncio.sleep(0.3)
        assert len(s.outputs) < 600
        s.cancel(name)  # while it waits
        assert (await s.end_of(name))["status"] == "terminated"

    scripted.play(code, script, is_generator=True)


SLEEPER = """
    import time, asyncio
    closed = []
    def f(seconds):
        if seconds > 0.1: print("begun", flush=True)
        try:
            time.sleep(seconds)
        except Exception:
            return "caught"
        return len(closed)
    async def g(seconds):
        try:
            await asyncio.sleep(seconds)
        finally:
            closed.append(1)
        return len(closed)
    def h(seconds):
        try:
            yield 1
            time.sleep(seconds)
        finally:
            closed.append(1)
        yield len(closed)
"""


def _cancel_script():
    async def script(s: scripted.Stage) -> None:
        victim, innocent = s.lease((30,), (0,))
        await s.until(lambda: s.seen.get("runner.release"))  # what queues behind a long input is given back
        assert s.seen["runner.release"][0]["inputs"] == [{"input_id": innocent, "attempt": 1}]
        began = time.monotonic()
        s.cancel(victim)
        assert (await s.end_of(victim))["status"] == "terminated"
        assert time.monotonic() - began < 15
        (after,) = s.lease((0,))
        assert (await s.end_of(after))["status"] == "success"

    return script


def test_cancelling_stops_sync_code_and_nothing_else():
    scripted.play(SLEEPER, _cancel_script())


def test_cancelling_stops_async_code_and_nothing_else():
    scripted.play(SLEEPER, _cancel_script(), qualname="g", is_async=True)


def test_cancelling_closes_generators():
    scripted.play(SLEEPER, _cancel_script(), qualname="h", is_generator=True)


def test_late_cancellations_harm_nobody():
    async def script(s: scripted.Stage) -> None:
        s.again = True
        for _ in range(30):
            names = s.lease(*FLOOD)
            s.cancel(*names[::2])
        await s.until(lambda: len(s.ends) == 600)
        status = {o["input_id"]: o["status"] for o in s.ends}
        assert set(status.values()) == {"success", "terminated"}
        innocents = sorted(status)[1::2]
        assert len(innocents) == 300 and all(status[name] == "success" for name in innocents)

    scripted.play(SLEEPER, script)


def test_a_timeout_interrupts_and_is_reported_with_the_place():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((30,))
        output = await s.end_of(name)
        assert output["status"] == "timeout" and 1.0 <= output["seconds"] < 15
        assert isinstance(s.value(output), exception.FunctionTimeoutError)
        assert output["failure"]["frames"][-1]["text"] == "time.sleep(seconds)"
        (name,) = s.lease((0,))
        assert (await s.end_of(name))["status"] == "success"

    scripted.play(SLEEPER, script, timeout=1.0)


def test_an_async_timeout_cancels_the_task():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((30,))
        assert (await s.end_of(name))["status"] == "timeout"
        (name,) = s.lease((0,))
        assert s.value(await s.end_of(name)) == 2

    scripted.play(SLEEPER, script, qualname="g", is_async=True, timeout=1.0)


def test_code_that_ignores_its_timeout_takes_the_container_with_it():
    code = """
        import time
        def f():
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
    """

    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(())
        assert (await s.end_of(name))["status"] == "timeout"
        assert await s.exit_code() == 1

    scripted.play(code, script, timeout=0.1)


def test_an_import_that_fails_is_reported_and_ends_the_container():
    async def script(s: scripted.Stage) -> None:
        failure = (await s.until(lambda: s.seen.get("runner.failed")))[0]["failure"]
        assert failure["kind"] == "ModuleNotFoundError"
        assert [f["text"] for f in failure["frames"]] == ["import surely_not_there"]
        assert await s.exit_code() == 1
        assert "surely_not_there" in s.out.read_text()

    scripted.play("import surely_not_there", script, ready=False)


def test_a_function_that_is_not_there_is_a_clear_error():
    async def script(s: scripted.Stage) -> None:
        failure = (await s.until(lambda: s.seen.get("runner.failed")))[0]["failure"]
        assert "has no 'f' in the container" in failure["repr"]

    scripted.play("g = 1", script, ready=False)


def test_a_refused_runner_ends():
    async def script(s: scripted.Stage) -> None:
        assert await s.exit_code() == 1
        assert "wrong token" in s.out.read_text()

    scripted.play("def f(): pass", script, ready=False, token="other")


def test_sys_exit_ends_the_container_after_earlier_results():
    code = """
        import sys
        def f(code):
            if code: sys.exit(code)
    """

    async def script(s: scripted.Stage) -> None:
        s.again = True
        good, _ = s.lease((0,), (7,))
        assert await s.exit_code() == 7
        assert [o["input_id"] for o in s.ends] == [good]

    scripted.play(code, script)


def test_a_single_use_container_ends_after_one_input():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((1,))
        assert await s.exit_code() == 0
        assert [o["input_id"] for o in s.ends] == [name]

    scripted.play("def f(x): return x", script, single_use=True)


def test_a_graceful_stop_finishes_what_runs():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((0.3,))
        await s.until(lambda: "begun" in s.out.read_text())
        s.stop(graceful=True)
        assert (await s.end_of(name))["status"] == "success"
        assert await s.exit_code() == 0

    scripted.play(SLEEPER, script)


def _stop_script(stop):
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((30,))
        await asyncio.sleep(0.1)
        stop(s)
        assert await s.exit_code() == 0
        given = {"inputs": [{"input_id": name, "attempt": 1}], "leaving": True}
        assert not s.ends and s.seen["runner.release"] == [given]

    return script


def test_a_stop_interrupts_and_gives_back_what_runs():
    scripted.play(SLEEPER, _stop_script(lambda s: s.stop(graceful=False)))


def test_a_stop_interrupts_async_code():
    scripted.play(SLEEPER, _stop_script(lambda s: s.stop(graceful=False)), qualname="g", is_async=True)


def test_a_signal_of_the_worker_stops_like_the_server():
    scripted.play(SLEEPER, _stop_script(lambda s: s.signal()))


def test_a_signal_ends_an_idle_runner():
    async def script(s: scripted.Stage) -> None:
        s.signal()
        assert await s.exit_code() == 0

    scripted.play(SLEEPER, script)


LINGERING = """
    import threading, time
    from concurrent import futures
    from windlass.runner import lingering
    pool = futures.ThreadPoolExecutor(2)
    def f(patience, seconds, daemon):
        lingering.PATIENCE = patience
        pool.submit(lambda: 1).result()
        threading.Thread(target=time.sleep, args=(seconds,), name="the-slow-one", daemon=daemon).start()
"""


@pytest.mark.parametrize(
    ("arguments", "least", "most", "said"),
    [
        ((30.0, 4.0, False), 2.0, 20.0, "waits up to 30 s for threads that still run: the-slow-one"),
        ((2.0, 60.0, False), 1.5, 20.0, "ends although threads still run"),
        ((30.0, 60.0, True), 0.0, 20.0, ""),
    ],
)
def test_threads_that_are_no_daemons_delay_the_end_but_not_for_ever(arguments, least, most, said):
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(arguments)
        await s.end_of(name)
        began = time.monotonic()
        s.stop(graceful=True)
        assert await s.exit_code() == 0
        assert least < time.monotonic() - began < most
        told = s.err.read_text() + s.out.read_text()
        assert said in told and bool(said) == ("threads" in told)

    scripted.play(LINGERING, script)


def test_results_survive_a_server_that_goes_away():
    async def script(s: scripted.Stage) -> None:
        s.deaf = s.again = True
        first, second = s.lease((0,), (0.3,))
        await s.end_of(first)  # sent, never answered
        s.deaf = False
        s.peer.close()
        await s.until(lambda: len(s.seen["runner.ready"]) == 2)
        held = s.seen["runner.ready"][-1]["held"]
        assert {item["input_id"] for item in held} == {first, second}
        assert (await s.end_of(second))["status"] == "success"
        assert [o["input_id"] for o in s.ends].count(first) == 2
        (third,) = s.lease((0,))
        await s.end_of(third)

    scripted.play(SLEEPER, script)


def test_what_the_server_drops_is_forgotten():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((30,))
        await asyncio.sleep(0.1)
        s.drop = [{"input_id": name, "attempt": 1}]
        s.peer.close()
        await s.until(lambda: len(s.seen["runner.ready"]) == 2)
        await asyncio.sleep(0.1)
        (after,) = s.lease((0,))
        assert (await s.end_of(after))["status"] == "success"
        assert [o["input_id"] for o in s.ends] == [after]

    scripted.play(SLEEPER, script)


def test_output_is_marked_with_its_input():
    code = """
        import os, sys, threading, subprocess
        print("importing")
        def f(x):
            print("hello", x)
            print("half", end="")
            thread = threading.Thread(target=print, args=("from a thread",))
            thread.start()
            thread.join()
            print("oops", file=sys.stderr)
            subprocess.run(["echo", "child"], stdout=sys.stdout)
    """

    async def script(s: scripted.Stage) -> None:
        (first,) = s.lease((1,))
        await s.end_of(first)
        (second,) = s.lease((2,))
        await s.end_of(second)
        aside = "\x1e>2\x1e\n{}\x1e>1\x1e\n".format
        block = "\x1e{0}\x1e\nhello {1}\nhalffrom a thread\n" + aside("\x1e{0}\x1e\noops") + aside("\n") + "child\n"
        marked = [block.format(name, n) for n, name in ((1, first), (2, second))]
        assert s.out.read_text() == "importing\n" + "".join(marked)
        assert s.err.read_text() == ""

    scripted.play(code, script)


def test_an_idle_runner_is_small_and_quiet():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((0,))
        await s.end_of(name)

        def status() -> dict[str, str]:
            with open(f"/proc/{s.running.pid}/status") as file:
                return dict(line.split(":", 1) for line in file)

        await s.quiet(lambda: int(status()["voluntary_ctxt_switches"]), most=2, seconds=0.3)
        assert int(status()["VmRSS"].split()[0]) < 25 * 1024

    scripted.play("def f(x): return x", script)
