"""What the runner promises when inputs run side by side, told by a scripted server to a real process."""
from __future__ import annotations

import asyncio
import time

import pytest

from runner import scripted
from windlass import exception

TEN = {"max_inputs": 10, "target_inputs": 10}
CODE = """
    import asyncio, contextvars, os, sys, threading, time
    import windlass
    mine = contextvars.ContextVar("mine", default=None)
    local = threading.local()
    seen = []
    def me(): return windlass.current_input_id(), windlass.current_function_call_id(), mine.get()
    async def sleeper(seconds, tag=None):
        mine.set(tag)
        try:
            await asyncio.sleep(seconds)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise
        return me()
    def thread(seconds, tag=None):
        mine.set(tag)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.01)
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise
        return me()
    async def astream(n, pause=0.0):
        for i in range(n):
            await asyncio.sleep(pause)
            yield i, me()
    def stream(n, pause=0.0):
        for i in range(n):
            time.sleep(pause)
            yield i, me()
    def deaf(seconds):
        print("begun", flush=True)
        time.sleep(seconds)
    async def adeaf(seconds):
        if seconds > 1:
            time.sleep(seconds)
        await asyncio.sleep(seconds)
    def failing(x): 1 / x
    def leaving(code):
        if code:
            time.sleep(0.2)
            sys.exit(code)
        time.sleep(30)
    async def aleaving(code):
        if code:
            await asyncio.sleep(0.2)
            sys.exit(code)
        await asyncio.sleep(30)
    def narrowing(count, seconds=0.0):
        from windlass import experimental
        if count:
            experimental.set_local_input_concurrency(count)
        time.sleep(seconds)
        return experimental.get_local_input_concurrency()
    async def anarrowing(count, seconds=0.0):
        narrowing(count)
        await asyncio.sleep(seconds)
        return narrowing(0)
    def importing():
        import slow_module
        time.sleep(0.2)
        return slow_module.TIMES
    def hidden(seconds): return sleeper(seconds, "hidden")
    def printing(tag):
        for i in range(20):
            print(tag, end=" ")
            time.sleep(0.002)
            print(i, "of", tag)
        os.write(1, b"raw\\n")
"""
KINDS = {"async": {"qualname": "sleeper", "is_async": True}, "sync": {"qualname": "thread"}}


def play(script, code: str = CODE, **spec) -> None:
    scripted.play(code, script, **{"concurrency": TEN, **spec})


@pytest.fixture(params=["async", "sync"])
def kind(request):
    return KINDS[request.param]


def test_as_many_run_at_once_as_may(kind):
    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        s.lease(*[(1.0,)] * 10)
        await s.until(lambda: len(s.ends) == 10)
        assert time.monotonic() - began < 8  # one after the other: 10
        assert {o["status"] for o in s.ends} == {"success"} and all(0.9 < o["seconds"] < 8 for o in s.ends)
        s.stop(graceful=True)
        assert await s.exit_code() == 0

    play(script, **kind)


def test_each_input_has_a_context_of_its_own(kind):
    async def script(s: scripted.Stage) -> None:
        for _ in range(3):  # in threads that were used before, too
            names = s.lease(*[(0.05, n) for n in range(10)])
            for n, name in enumerate(names):
                assert s.value(await s.end_of(name)) == (name, scripted.CALL, n)
        (name,) = s.lease((0, None))
        assert s.value(await s.end_of(name)) == (name, scripted.CALL, None)

    play(script, **kind)


def test_one_that_is_cancelled_leaves_its_neighbours_alone(kind):
    async def script(s: scripted.Stage) -> None:
        victim, *others = s.lease((30,), *[(3.0,)] * 5)
        await asyncio.sleep(0.2)
        s.cancel(victim)
        assert (await s.end_of(victim))["status"] == "terminated" and len(s.ends) == 1, "it waited for the others"
        for name in others:
            assert (await s.end_of(name))["status"] == "success"
        assert s.running.poll() is None and "runner.release" not in s.seen

    play(script, **kind)


def test_one_that_runs_too_long_leaves_its_neighbours_alone(kind):
    async def script(s: scripted.Stage) -> None:
        victim, *others = s.lease((30,), *[(0.2,)] * 5)
        output = await s.end_of(victim)
        assert output["status"] == "timeout" and isinstance(s.value(output), exception.FunctionTimeoutError)
        assert 1.5 < output["seconds"] < 15
        for name in others:
            assert (await s.end_of(name))["status"] == "success"
        (after,) = s.lease((0,))
        assert (await s.end_of(after))["status"] == "success"

    play(script, timeout=1.5, **kind)


def test_late_cancellations_harm_nobody(kind):
    async def script(s: scripted.Stage) -> None:
        status = {}
        for _ in range(30):
            names = s.lease(*[(0.002,)] * 10)
            s.cancel(*names[::2])
            for name in names:
                status[name] = (await s.end_of(name))["status"]
        innocents = sorted(status)[1::2]
        assert len(innocents) == 150 and all(status[name] == "success" for name in innocents)
        assert set(status.values()) <= {"success", "terminated"}

    play(script, **kind)


def test_failures_are_those_of_their_inputs():
    async def script(s: scripted.Stage) -> None:
        good, bad = s.lease((1,), (0,))
        assert isinstance(s.value(await s.end_of(bad)), ZeroDivisionError)
        assert (await s.end_of(good))["status"] == "success"

    play(script, qualname="failing")


@pytest.mark.parametrize("kind_", ["async", "sync"])
def test_code_that_does_not_stop_ends_the_container_and_the_others_are_given_back(kind_):
    kinds = {"sync": {"qualname": "deaf"}, "async": {"qualname": "adeaf", "is_async": True}}

    async def script(s: scripted.Stage) -> None:
        if kind_ == "async":  # what blocks the loop is alone to blame, but nobody else can end either
            (victim,) = s.lease((60,))
        else:
            victim, young = s.lease((60,), (60,))
            await s.until(lambda: s.out.read_text().count("begun") == 2)
            s.cancel(victim)
        await s.until(lambda: s.running.poll() is not None)
        ends = {o["input_id"]: o["status"] for o in s.ends}
        if kind_ == "async":
            assert ends == {victim: "timeout"}
        else:
            assert ends == {victim: "terminated"}
            assert s.seen["runner.release"] == [{"inputs": [{"input_id": young, "attempt": 1}], "leaving": True}]
            assert "did not stop" in s.out.read_text()
        assert s.running.returncode == 1

    play(script, timeout=60.0 if kind_ == "sync" else 0.3, **kinds[kind_])


@pytest.mark.parametrize(("qualname", "is_async"), [("leaving", False), ("aleaving", True)])
def test_sys_exit_ends_the_container_and_only_its_input_is_to_blame(qualname, is_async):
    async def script(s: scripted.Stage) -> None:
        guilty, other = s.lease((7,), (0,))
        assert await s.exit_code() == 7
        given = [i["input_id"] for r in s.seen["runner.release"] for i in r["inputs"]]
        assert given == [other] and not s.ends, guilty

    play(script, qualname=qualname, is_async=is_async)


def test_a_graceful_stop_finishes_what_runs(kind):
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(0.4,)] * 5)
        await asyncio.sleep(0.1)
        s.stop(graceful=True)
        for name in names:
            assert (await s.end_of(name))["status"] == "success"
        assert await s.exit_code() == 0

    play(script, **kind)


@pytest.mark.parametrize("how", ["server", "signal"])
def test_a_stop_interrupts_all_and_gives_them_back(kind, how):
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(30,)] * 5)
        await asyncio.sleep(0.2)
        if how == "server":
            s.stop(graceful=False)
        else:
            s.signal()
        assert await s.exit_code() == 0
        given = {i["input_id"] for r in s.seen["runner.release"] for i in r["inputs"]}
        assert given == set(names) and not s.ends

    play(script, **kind)


@pytest.mark.parametrize("idle", [True, False])
def test_an_idle_crowd_ends_by_a_signal(kind, idle):
    async def script(s: scripted.Stage) -> None:
        if not idle:
            (name,) = s.lease((0,))
            await s.end_of(name)
        s.signal()
        assert await s.exit_code() == 0

    play(script, **kind)


@pytest.mark.parametrize(("qualname", "is_async"), [("stream", False), ("astream", True)])
def test_generators_yield_side_by_side(qualname, is_async):
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(50, 0.005)] * 5)
        for name in names:
            end = await s.end_of(name)
            assert end["status"] == "success" and end["items"] == 50
            items = [o for o in s.outputs if o["status"] == "item" and o["input_id"] == name]
            assert [o["item"] for o in items] == list(range(50))
            assert [s.value(o) for o in items] == [(i, (name, scripted.CALL, None)) for i in range(50)]
        order = [o["input_id"] for o in s.outputs if o["status"] == "item"]
        assert order != sorted(order)

    play(script, qualname=qualname, is_async=is_async, is_generator=True)


@pytest.mark.parametrize(("qualname", "is_async"), [("stream", False), ("astream", True)])
def test_a_generator_nobody_reads_waits_and_holds_up_no_other(qualname, is_async):
    async def script(s: scripted.Stage) -> None:
        (slow,) = s.lease((100_000,))
        s.withheld = {slow}
        await s.until(lambda: sum(o["input_id"] == slow for o in s.outputs) >= 100)
        (quick,) = s.lease((1000,))
        assert (await s.end_of(quick))["items"] == 1000
        assert sum(o["input_id"] == slow for o in s.outputs) < 700
        s.cancel(slow)
        assert (await s.end_of(slow))["status"] == "terminated"

    play(script, qualname=qualname, is_async=is_async, is_generator=True)


def test_a_plain_function_may_return_a_coroutine():
    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        victim, *names = s.lease((30,), *[(1.0,)] * 5)
        for name in names:
            assert s.value(await s.end_of(name))[0] == name
        assert time.monotonic() - began < 4.5  # one after the other: 5
        s.cancel(victim)
        assert (await s.end_of(victim))["status"] == "terminated"

    play(script, qualname="hidden")


def test_large_values_travel_as_blobs_both_ways(kind):
    code = """
        async def sleeper(x): return 2 * x
        def thread(x): return 2 * x
    """

    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(b"%d" % n * 3_000_000,) for n in range(3)])
        for n, name in enumerate(names):
            assert s.value(await s.end_of(name)) == b"%d" % n * 6_000_000

    play(script, code, **kind)


def test_results_survive_a_server_that_goes_away(kind):
    async def script(s: scripted.Stage) -> None:
        s.deaf = True
        first, second = s.lease((0,), (0.5,))
        await s.end_of(first)  # sent, never answered
        s.deaf = False
        s.peer.close()
        await s.until(lambda: len(s.seen["runner.ready"]) == 2)
        assert {item["input_id"] for item in s.seen["runner.ready"][-1]["held"]} == {first, second}
        assert (await s.end_of(second))["status"] == "success"
        assert [o["input_id"] for o in s.ends].count(first) == 2

    play(script, **kind)


def test_what_waits_for_a_place_too_long_is_given_back(kind):
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(2.0,)] * 4)
        await s.until(lambda: s.seen.get("runner.release"))
        assert {i["input_id"] for i in s.seen["runner.release"][0]["inputs"]} == set(names[2:])
        for name in names[:2]:
            assert (await s.end_of(name))["status"] == "success"

    play(script, **{**kind, "concurrency": {"max_inputs": 2, "target_inputs": 2}})


def test_printed_lines_stay_whole_and_belong_to_their_inputs():
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(f"t{n}",) for n in range(5)])
        for name in names:
            await s.end_of(name)
        owner, by_owner = "", {}
        for line in s.out.read_text().split("\n")[:-1]:
            if line.startswith("\x1e") and line.endswith("\x1e"):
                owner = line.strip("\x1e")
            else:
                by_owner.setdefault(owner, []).append(line)
        for n, name in enumerate(names):
            assert by_owner[name] == [f"t{n} {i} of t{n}" for i in range(20)]
        assert by_owner[""] == ["raw"] * 5  # of whom, nobody can know

    play(script, qualname="printing")


def test_a_single_use_container_takes_one_input_all_the_same():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((0,))
        assert await s.exit_code() == 0
        assert [o["input_id"] for o in s.ends] == [name]

    play(script, single_use=True, **KINDS["async"])


def test_methods_of_both_kinds_share_a_container():
    code = """
        import asyncio, time
        import windlass
        app = windlass.App("x")
        @app.cls()
        @windlass.concurrent(max_inputs=10)
        class C:
            @windlass.enter()
            def enter(self): self.log = ["enter"]
            @windlass.method()
            async def later(self, seconds):
                await asyncio.sleep(seconds)
                return self.log
            @windlass.method()
            def now(self, seconds):
                time.sleep(seconds)
                return self.log
            @windlass.exit()
            def exit(self): print("exit", self.log)
    """
    methods = {"later": {"is_async": True}, "now": {}}

    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        names = [*s.lease(*[(1.0,)] * 3, method="later"), *s.lease(*[(1.0,)] * 3, method="now")]
        for name in names:
            assert s.value(await s.end_of(name)) == ["enter"]
        assert time.monotonic() - began < 5  # one after the other: 6
        s.stop(graceful=True)
        assert await s.exit_code() == 0
        assert "exit ['enter']" in s.out.read_text()

    play(script, code, qualname="C", tag="C.*", class_name="C", methods=methods, parameters=[])


def test_a_terminal_is_refused():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease(())
        assert "several inputs" in str(s.value(await s.end_of(name)))

    play(script, "import windlass\ndef f(): windlass.interact()")


def test_an_idle_crowd_is_quiet(kind):
    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(0,)] * 10)
        for name in names:
            await s.end_of(name)
        await s.quiet(s.switches, most=4, seconds=0.5)

    play(script, **kind)


@pytest.mark.parametrize("spec", [{"qualname": "narrowing"}, {"qualname": "anarrowing", "is_async": True}])
def test_code_says_how_many_inputs_it_takes_at_once(spec):
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((0,))
        assert s.value(await s.end_of(name)) == 10 and "runner.slots" not in s.seen
        (name,) = s.lease((2,))
        assert s.value(await s.end_of(name)) == 2
        names = s.lease(*[(0, 2.0)] * 5)
        await s.until(lambda: s.seen.get("runner.release"))
        assert {i["input_id"] for i in s.seen["runner.release"][0]["inputs"]} == set(names[2:])
        for name in names[:2]:
            assert (await s.end_of(name))["status"] == "success"
        (name,) = s.lease((99,))
        assert s.value(await s.end_of(name)) == 10
        assert s.seen["runner.slots"] == [{"slots": 2}, {"slots": 10}]
        s.peer.close()
        await s.until(lambda: len(s.seen["runner.ready"]) == 2)
        assert s.seen["runner.ready"][-1]["slots"] == 10 and "slots" not in s.seen["runner.ready"][0]

    play(script, **spec)


def test_a_container_of_one_input_at_a_time_stays_one():
    async def script(s: scripted.Stage) -> None:
        (name,) = s.lease((7,))
        assert s.value(await s.end_of(name)) == 1 and "runner.slots" not in s.seen

    scripted.play(CODE, script, qualname="narrowing")


SLOW = """
import builtins, time
builtins.slow_times = getattr(builtins, "slow_times", 0) + 1
for _ in range(200):
    time.sleep(0.01)
TIMES = builtins.slow_times
"""


def test_a_thread_is_not_interrupted_in_the_midst_of_an_import():
    async def script(s: scripted.Stage) -> None:
        (s.folder / "code" / "slow_module.py").write_text(SLOW)
        victim, other = s.lease((), ())
        await asyncio.sleep(0.4)
        began = time.monotonic()
        s.cancel(victim)
        assert (await s.end_of(victim))["status"] == "terminated"
        assert 0.2 < time.monotonic() - began < 15
        assert s.value(await s.end_of(other)) == 1, "it was imported once"
        (late,) = s.lease(())
        assert s.value(await s.end_of(late)) == 1
        assert s.running.poll() is None

    play(script, qualname="importing")
