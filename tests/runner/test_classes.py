"""What the runner does with classes: one instance, its hooks, its methods, and how it ends."""
from __future__ import annotations

import signal
import time

import pytest

from runner import scripted
from windlass.wire import parameters

HEAD = """
    import asyncio, os, time
    import windlass
    app = windlass.App("x")
    seen = []
"""


def play(code, script, *methods: str, schema=(), values=None, name: str = "Model", **more) -> None:
    """``methods``: names, with ``*`` in front for generators and ``async `` for what is async."""
    specs = {
        m.rpartition("*")[2].rpartition(" ")[2]: {"is_generator": "*" in m, "is_async": "async" in m} for m in methods
    }
    about = {
        "tag": f"{name}.*", "qualname": name, "class_name": name, "methods": specs, "parameters": list(schema),
    }  # fmt: skip
    bound = parameters.encode(schema, values) if values else ""
    scripted.play(HEAD + code, script, bound=bound, **about, **more)


def test_one_instance_serves_all_methods_and_keeps_its_state():
    code = """
    @app.cls()
    class Model:
        @windlass.enter()
        def prepare(self):
            self.count = 10
        @windlass.method()
        def up(self, by):
            self.count += by
            return self.count
        @windlass.method()
        def get(self):
            return self.count, self.plain()
        def plain(self):
            return "plain"
    """

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((5,), method="up")
        assert s.value(await s.end_of(one)) == 15
        (two,) = s.lease((), method="get")
        assert s.value(await s.end_of(two)) == (15, "plain")
        (odd,) = s.lease((), method="other")
        assert "no method" in (await s.end_of(odd))["failure"]["repr"]

    play(code, script, "up", "get")


def test_parameters_have_their_values_and_the_others_their_defaults():
    code = """
    @app.cls()
    class Model:
        name: str = windlass.parameter()
        size: int = windlass.parameter(default=3)
        raw: bytes = windlass.parameter(default=b"x")
        model: object = windlass.parameter(init=False)
        @windlass.enter()
        def prepare(self):
            self.model = (self.name, self.size, self.raw)
        @windlass.method()
        def get(self):
            return self.model
    """
    schema = [{"name": "name", "type": "str"}, {"name": "size", "type": "int"}]

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((), method="get")
        assert s.value(await s.end_of(one)) == ("a", 7, b"x")

    play(code, script, "get", schema=schema, values={"name": "a", "size": 7})


def test_hooks_run_in_order_bases_first_snap_hooks_before_all_others():
    code = """
    class Base:
        @windlass.enter()
        def base_one(self): seen.append("base one")
        @windlass.enter(snap=True)
        async def base_snap(self): seen.append("base snap")
        @windlass.enter()
        def again(self): seen.append("never")
        @windlass.exit()
        def base_exit(self): print("base exit", flush=True)
    @app.cls(enable_memory_snapshot=True)
    class Model(Base):
        @windlass.enter()
        async def own(self):
            await asyncio.sleep(0)
            seen.append("own")
        @windlass.enter()
        def again(self): seen.append("overridden")
        @windlass.enter(snap=True)
        def own_snap(self): seen.append("own snap")
        @windlass.method()
        def get(self): return seen
        @windlass.exit()
        async def own_exit(self):
            await asyncio.sleep(0)
            print("own exit", flush=True)
    """

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((), method="get")
        order = ["base snap", "own snap", "base one", "overridden", "own"]
        assert s.value(await s.end_of(one)) == order
        s.stop(graceful=True)
        assert await s.exit_code() == 0
        printed = [line for line in s.out.read_text().split("\n") if "exit" in line]
        assert printed == ["base exit", "own exit"]

    play(code, script, "get")


def test_generators_and_async_methods():
    code = """
    @app.cls()
    class Model:
        @windlass.enter()
        async def prepare(self):
            self.loop = asyncio.get_running_loop()
            self.n = 2
        @windlass.method()
        def count(self): yield from range(self.n)
        @windlass.method()
        async def same_loop(self): return self.loop is asyncio.get_running_loop()
        @windlass.method()
        async def acount(self):
            for i in range(self.n): yield i * 10
        @windlass.method()
        def uses_others(self):
            return list(self.count.local()), asyncio.run_coroutine_threadsafe is not None
    """

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((), method="count")
        assert (await s.end_of(one))["items"] == 2
        (two,) = s.lease((), method="same_loop")
        assert s.value(await s.end_of(two)) is True
        (three,) = s.lease((), method="acount")
        assert (await s.end_of(three))["items"] == 2
        assert [s.value(o) for o in s.outputs if o["status"] == "item"] == [0, 1, 0, 10]
        (four,) = s.lease((), method="uses_others")
        assert s.value(await s.end_of(four)) == ([0, 1], True)

    play(code, script, "*count", "async same_loop", "async *acount", "uses_others")


def test_an_enter_hook_that_raises_is_a_failed_start_with_its_traceback():
    code = """
    @app.cls()
    class Model:
        @windlass.enter()
        def prepare(self): raise ValueError("no weights")
        @windlass.exit()
        def leave(self): print("left", flush=True)
        @windlass.method()
        def get(self): ...
    """

    async def script(s: scripted.Stage) -> None:
        await s.until(lambda: "runner.failed" in s.seen)
        failure = s.seen["runner.failed"][0]["failure"]
        assert "no weights" in failure["repr"] and "prepare" in failure["traceback"]
        assert await s.exit_code() == 1
        assert "runner.ready" not in s.seen and "left" not in s.out.read_text()

    play(code, script, "get", ready=False)


EXITS = """
    @app.cls()
    class Model:
        @windlass.method()
        def get(self, x=0):
            if x == "die": os._exit(3)
            if x == "leave": raise SystemExit(4)
            print("begun", flush=True)
            time.sleep(x)
            return x
        @windlass.exit()
        def first(self):
            print("exit begins", flush=True)
            raise RuntimeError("bad hook")
        @windlass.exit()
        def second(self, kind, exc, tb):
            t = time.monotonic() + 0.4
            while time.monotonic() < t: time.sleep(0.01)
            print("exit ended", kind, flush=True)
"""


@pytest.mark.parametrize("how", ["graceful", "now", "signal"])
def test_exit_hooks_run_after_the_last_input_and_nothing_interrupts_them(how):
    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((0.3 if how == "graceful" else 30,), method="get")
        await s.until(lambda: "begun" in s.out.read_text())
        if how == "signal":
            s.signal(signal.SIGINT)
        else:
            s.stop(graceful=how == "graceful")
        await s.until(lambda: "exit begins" in s.out.read_text())
        if how == "graceful":
            assert s.value(await s.end_of(one)) == 0.3
        else:
            await s.until(lambda: "runner.release" in s.seen)
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
            s.signal(number)
        s.stop(graceful=False) if s.peer else None
        assert await s.exit_code() == 0
        printed = s.out.read_text()
        assert printed.count("exit ended None") == 1 and "bad hook" in printed + s.err.read_text()

    play(EXITS, script, "get")


def test_exit_hooks_run_before_a_container_for_single_use_ends():
    async def script(s: scripted.Stage) -> None:
        s.lease((0,), method="get")
        assert await s.exit_code() == 0
        assert "exit ended" in s.out.read_text()

    play(EXITS, script, "get", single_use=True)


@pytest.mark.parametrize(("argument", "code"), [("die", 3), ("leave", 4)])
def test_exit_hooks_do_not_run_when_the_container_dies(argument, code):
    async def script(s: scripted.Stage) -> None:
        s.lease((argument,), method="get")
        assert await s.exit_code() == code
        assert "exit begins" not in s.out.read_text()

    play(EXITS, script, "get")


@pytest.mark.parametrize("graceful", [True, False])
def test_exit_hooks_that_hang_are_ended_after_the_grace_and_the_log_says_so(graceful):
    code = """
    @app.cls()
    class Model:
        @windlass.method()
        def get(self): return 1
        @windlass.exit()
        def hang(self):
            print("hanging", flush=True)
            time.sleep(60)
    """

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((), method="get")
        await s.end_of(one)
        began = time.monotonic()
        s.stop(graceful=graceful, grace=1.0)
        assert await s.exit_code() == 1
        assert 0.9 < time.monotonic() - began < 20
        assert "still running after 1 s" in s.out.read_text() + s.err.read_text()

    play(code, script, "get")


def test_methods_of_self_are_functions_that_also_run_in_the_process():
    code = """
    @app.cls()
    class Model:
        n: int = windlass.parameter(default=1)
        @windlass.enter()
        def prepare(self):
            self.entered = getattr(self, "entered", 0) + 1
        @windlass.method()
        def other(self, x): return x + self.n + self.entered
        @windlass.method()
        async def aother(self, x): return x + self.n
        @windlass.method()
        async def both(self, x):
            try:
                self.other(1)
            except windlass.exception.InvalidError:
                refused = True
            return self.other.local(x), await self.aother.local(x), type(self.other).__mro__[1].__name__, refused
    """

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((1,), method="both")
        assert s.value(await s.end_of(one)) == (7, 6, "Function", True)

    play(code, script, "other", "async aother", "async both", schema=[{"name": "n", "type": "int"}], values={"n": 5})


def test_a_pickled_class_is_served_as_well():
    import cloudpickle

    from windlass.client import partial
    from windlass.wire import payload

    space: dict = {"windlass_parameter": partial.Parameter(2, True)}
    exec("class Model:\n    def get(self):\n        return self.n", space)
    model = space["Model"]
    model.n = partial.Parameter(2, True)
    model.n.name = "n"
    model.__annotations__ = {"n": int}
    model.get = partial.mark(model.get, "method", role=partial.METHOD)
    model.__module__ = "__main__"
    data = cloudpickle.dumps(model, 4)
    digest = payload.digest(data)

    async def script(s: scripted.Stage) -> None:
        (one,) = s.lease((), method="get")
        assert s.value(await s.end_of(one)) == 2

    play("", script, "get", definition="serialized", serialized=digest, blobs={digest: bytearray(data)}, python="")
