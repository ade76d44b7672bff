"""What the runner promises about batches, told by a scripted server to a real process."""
from __future__ import annotations

import asyncio
import time

import pytest

from runner import scripted
from windlass import exception

CODE = """
    import asyncio, time
    import windlass
    calls = []
    def f(x, y):
        assert isinstance(x, list) and isinstance(y, list)
        calls.append(len(x))
        return [(a * b, len(x)) for a, b in zip(x, y)]
    async def g(x, y):
        await asyncio.sleep(0.01)
        return f(x, y)
    def named(x, *, y): return f(x, y)
    def wrong(x):
        what = x[0]
        if what == "raise": raise ValueError("together")
        if what == "short": return x[1:]
        if what == "tuple": return tuple(x)
        if what == "unpicklable": return [(lambda: 1) if i == 0 else i for i in range(len(x))]
        return x
    def slow(seconds):
        print("begun", flush=True)
        time.sleep(max(seconds))
        return [windlass.current_input_id()] * len(seconds)
    async def aslow(seconds):
        print("begun", flush=True)
        await asyncio.sleep(max(seconds))
        return [windlass.current_input_id()] * len(seconds)
    def printing(x):
        print("who?")
        return x
"""
FOUR = {"max_batch_size": 4, "wait_ms": 300}
SIX = {"max_inputs": 6, "target_inputs": 6}


def play(script, code: str = CODE, batching=FOUR, **spec) -> None:
    scripted.play(code, script, batching=batching, **spec)


SHAPES = [{}, {"qualname": "g", "is_async": True}, {"concurrency": SIX},
          {"qualname": "g", "is_async": True, "concurrency": SIX}]  # fmt: skip


@pytest.fixture(params=range(4), ids=["sync", "async", "several", "several async"])
def shape(request):
    return SHAPES[request.param]


def slow(shape) -> dict:
    return {**shape, "qualname": "aslow" if shape.get("is_async") else "slow"}


async def values(s: scripted.Stage, names: list[str]) -> list:
    return [s.value(await s.end_of(name)) for name in names]


def test_a_batch_begins_when_it_is_full(shape):
    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        names = s.lease(*[(n, 10) for n in range(4)])
        assert await values(s, names) == [(n * 10, 4) for n in range(4)]
        assert time.monotonic() - began < 20
        s.stop(graceful=True)
        assert await s.exit_code() == 0

    play(script, batching={"max_batch_size": 4, "wait_ms": 60_000}, **shape)


def test_inputs_that_come_while_the_loop_is_being_made_are_served(shape):
    slow_import = """
    import sys
    class Slow:
        def find_spec(self, name, path, target=None):
            if name == "windlass.runner.tasks": time.sleep(0.5)
    sys.meta_path.insert(0, Slow())
    """

    async def script(s: scripted.Stage) -> None:
        names = s.lease(*[(n, 10) for n in range(4)])
        assert await values(s, names) == [(n * 10, 4) for n in range(4)]

    play(script, CODE + slow_import, batching={"max_batch_size": 4, "wait_ms": 60_000}, **shape)


def test_a_batch_begins_when_its_first_input_has_waited_long_enough(shape):
    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        names = s.lease((1, 2))
        await asyncio.sleep(0.1)
        names += s.lease((3, 4), (5, 6))
        assert await values(s, names) == [(2, 3), (12, 3), (30, 3)]
        assert 1 <= time.monotonic() - began < 10
        (late,) = s.lease((7, 8))
        assert await values(s, [late]) == [(56, 1)]

    play(script, batching={"max_batch_size": 4, "wait_ms": 1000}, **shape)


def test_more_than_a_batch_are_several(shape):
    async def script(s: scripted.Stage) -> None:
        s.again = True
        names = s.lease(*[(n, 1) for n in range(10)])
        assert sorted(size for _, size in await values(s, names)) == [2, 2] + [4] * 8

    play(script, **shape)


def test_without_waiting_what_is_there_is_the_batch(shape):
    async def script(s: scripted.Stage) -> None:
        names = s.lease((1, 1))
        assert await values(s, names) == [(1, 1)]
        names = s.lease((1, 1), (2, 2))
        assert await values(s, names) == [(1, 2), (4, 2)]

    play(script, batching={"max_batch_size": 4, "wait_ms": 0}, **shape)


def test_arguments_may_come_by_name():
    async def script(s: scripted.Stage) -> None:
        one = s.lease_named((2,), {"y": 3})
        other = s.lease_named((), {"y": 5, "x": 4})
        assert await values(s, [one, other]) == [(6, 2), (20, 2)]

    play(script, qualname="named")


@pytest.mark.parametrize("given", [((1,), {}), ((1, 2, 3), {}), ((1, 2), {"y": 3}), ((1,), {"z": 2})])
def test_an_input_that_does_not_fit_fails_its_whole_batch(given):
    async def script(s: scripted.Stage) -> None:
        names = [*s.lease((1, 2)), s.lease_named(*given)]
        for error in await values(s, names):
            assert isinstance(error, exception.InvalidError) and "each parameter once" in str(error.hint)
        assert await values(s, s.lease((1, 2))) == [(2, 1)]

    play(script)


def test_what_cannot_be_read_fails_alone():
    async def script(s: scripted.Stage) -> None:
        (good,) = s.lease((1, 2))
        bad = s.lease_raw(b"\xff\xff")
        assert isinstance((await values(s, [bad]))[0], exception.DeserializationError)
        assert await values(s, [good]) == [(2, 1)]

    play(script)


@pytest.mark.parametrize("more", [{}, {"concurrency": SIX}])
@pytest.mark.parametrize("what", ["raise", "short", "tuple"])
def test_one_wrong_result_or_exception_fails_all(what, more):
    async def script(s: scripted.Stage) -> None:
        names = s.lease((what,), *[(n,) for n in range(3)])
        for error in await values(s, names):
            kind = ValueError if what == "raise" else exception.InvalidError
            assert type(error) is kind
        assert await values(s, s.lease(("fine",), ("too",))) == ["fine", "too"]

    play(script, qualname="wrong", **more)


def test_an_element_that_cannot_be_pickled_fails_alone():
    async def script(s: scripted.Stage) -> None:
        code = s.lease(("unpicklable",), (1,), (2,))
        first, *others = await values(s, code)
        assert others == [1, 2] and (isinstance(first, exception.SerializationError) or callable(first))

    play(script, qualname="wrong")


def test_the_timeout_covers_the_batch(shape):
    async def script(s: scripted.Stage) -> None:
        names = s.lease((30,), (0,), (0,), (0,))
        for name in names:
            output = await s.end_of(name)
            assert output["status"] == "timeout" and output["seconds"] < 15
        assert (await s.end_of(s.lease((0,))[0]))["status"] == "success"

    spec = slow(shape)
    if "concurrency" in spec and not spec.get("is_async"):
        pytest.skip("time.sleep in a thread does not notice; test_crowd has what follows")
    play(script, timeout=1.0, **spec)


def test_cancelling_one_ends_its_batch_and_gives_the_others_back(shape):
    async def script(s: scripted.Stage) -> None:
        victim, *others = s.lease((30,), (0,), (0,), (0,))
        await s.until(lambda: "begun" in s.out.read_text())
        s.cancel(victim)
        assert (await s.end_of(victim))["status"] == "terminated"
        await s.until(lambda: [i for r in s.seen.get("runner.release", []) for i in r["inputs"]])
        given = [i["input_id"] for r in s.seen["runner.release"] for i in r["inputs"]]
        assert given == others and len(s.ends) == 1

    spec = slow(shape)
    if "concurrency" in spec and not spec.get("is_async"):
        pytest.skip("time.sleep in a thread does not notice; test_crowd has what follows")
    play(script, **spec)


def test_one_that_is_cancelled_while_it_waits_is_left_out(shape):
    async def script(s: scripted.Stage) -> None:
        names = s.lease((1, 1), (2, 2))
        await asyncio.sleep(0.05)
        s.cancel(names[0])
        assert (await s.end_of(names[0]))["status"] == "terminated"
        names += s.lease((3, 3), (4, 4), (5, 5))
        assert await values(s, names[1:]) == [(4, 4), (9, 4), (16, 4), (25, 4)]

    play(script, batching={"max_batch_size": 4, "wait_ms": 60_000}, **shape)


def test_a_stop_gives_back_what_was_gathered(shape):
    async def script(s: scripted.Stage) -> None:
        names = s.lease((1, 1), (2, 2))
        await asyncio.sleep(0.1)
        s.stop(graceful=True)
        assert await s.exit_code() == 0
        given = [i["input_id"] for r in s.seen["runner.release"] for i in r["inputs"]]
        assert given == names and not s.ends

    play(script, batching={"max_batch_size": 4, "wait_ms": 60_000}, **shape)


def test_a_batch_that_is_not_full_says_that_it_is_closed():
    async def script(s: scripted.Stage) -> None:
        names = s.lease((2.0,), (0,))
        await s.until(lambda: s.seen.get("runner.release"))
        assert s.seen["runner.release"] == [{"inputs": []}] and not s.ends
        await values(s, names)
        await values(s, s.lease((0,), (0,), (0,), (0,)))
        assert s.seen["runner.release"] == [{"inputs": []}]

    play(script, qualname="slow")


@pytest.mark.parametrize(("qualname", "is_async"), [("slow", False), ("aslow", True)])
def test_several_batches_run_at_once(qualname, is_async):
    async def script(s: scripted.Stage) -> None:
        began = time.monotonic()
        names = s.lease(*[(1.0,)] * 24)
        firsts = await values(s, names)
        assert time.monotonic() - began < 5.5  # one after the other: 6
        assert firsts == [names[n // 4 * 4] for n in range(24)]

    play(script, qualname=qualname, is_async=is_async, concurrency=SIX)


def test_what_a_batch_prints_belongs_to_no_single_input(shape):
    async def script(s: scripted.Stage) -> None:
        await values(s, s.lease((1,), (2,)))
        assert s.out.read_text() == "who?\n"

    play(script, **{**shape, "qualname": "printing", "is_async": False})


def test_a_single_use_container_takes_one_batch():
    async def script(s: scripted.Stage) -> None:
        names = s.lease((1, 1), (2, 2))
        assert await s.exit_code() == 0
        assert [o["input_id"] for o in s.ends] == names

    play(script, single_use=True)


def test_the_only_method_of_a_class_may_be_batched():
    code = """
        import windlass
        app = windlass.App("x")
        @app.cls()
        class C:
            @windlass.enter()
            def enter(self): self.base = 100
            @windlass.batched(max_batch_size=4, wait_ms=300)
            def add(self, x): return [self.base + one for one in x]
    """

    async def script(s: scripted.Stage) -> None:
        assert await values(s, s.lease((1,), (2,), method="add")) == [101, 102]

    play(script, code, qualname="C", tag="C.*", class_name="C", methods={"add": {}}, parameters=[])


def test_a_function_that_cannot_be_batched_says_so():
    async def script(s: scripted.Stage) -> None:
        (error,) = await values(s, s.lease((1,)))
        assert isinstance(error, exception.InvalidError) and "default" in str(error)

    play(script, "def f(x=1): return x")
