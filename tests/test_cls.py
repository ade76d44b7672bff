"""Classes as their users write them: what is refused at the earliest moment, and what handles do without a platform."""
from __future__ import annotations

import asyncio
import pickle

import pytest

import windlass
from windlass import exception

app = windlass.App("classes")
log: list[str] = []


class Base:
    name: str = windlass.parameter(default="base")

    @windlass.enter()
    def first(self) -> None:
        log.append("first")

    @windlass.exit()
    def last(self) -> None:
        log.append("last")

    @windlass.method()
    def greet(self) -> str:
        return f"hello {self.name}"


@app.cls(max_containers=3)
class Model(Base):
    """A class."""

    size: int = windlass.parameter(default=1)
    model: list[int] = windlass.parameter(init=False)
    KIND = "constant"

    @windlass.enter()
    def second(self) -> None:
        log.append("second")
        self.model = [self.size]

    @windlass.method()
    def get(self, x: int = 0) -> int:
        return self.model[0] + x

    @windlass.method()
    def items(self, n: int):
        yield from range(n)

    @windlass.method()
    async def later(self) -> int:
        return self.size

    def plain(self, x: int) -> int:
        return x * self.size


@app.cls()
class Strict:
    text: str = windlass.parameter()
    number: int = windlass.parameter()
    flag: bool = windlass.parameter(default=False)
    raw: bytes = windlass.parameter(default=b"\0")

    @windlass.method()
    def get(self): ...


@app.cls()
class AsyncEnter:
    @windlass.enter()
    async def prepare(self):
        await asyncio.sleep(0)
        self.value = 5

    @windlass.method()
    def get(self):
        return self.value

    @windlass.method()
    async def later(self):
        return self.value

    @windlass.method()
    async def items(self):
        yield self.value


@pytest.fixture(autouse=True)
def _empty_log():
    log.clear()


def test_the_name_is_a_handle_registered_with_the_app():
    assert isinstance(Model, windlass.Cls)
    assert app.registered_classes["Model"] is Model
    assert {"Model.*", "Strict.*"} <= app.registered_functions.keys()
    assert Model.KIND == "constant"


def test_local_calls_have_one_instance_whose_enter_hooks_run_once_and_exit_hooks_never():
    model = Model(size=4)
    assert model.get.local(1) == 5 and model.get.local(2) == 6
    assert log == ["first", "second"]
    assert model.plain(3) == 12 and model.size == 4 and model.name == "base"
    assert model.greet.local() == "hello base"
    assert list(model.items.local(2)) == [0, 1]
    assert asyncio.run(model.later.local()) == 4
    assert log == ["first", "second"]


def test_reading_an_attribute_needs_no_hooks():
    assert Model(size=4).size == 4 and log == []


def test_async_hooks_run_wherever_a_local_call_is_made():
    assert AsyncEnter().get.local() == 5

    async def main():
        one, two = AsyncEnter(), AsyncEnter()
        return [await one.later.local(), two.get.local(), [i async for i in AsyncEnter().items.local()]]

    assert asyncio.run(main()) == [5, 5, [5]]


def test_objects_are_made_without_any_request_and_methods_are_functions():
    model = Model()
    assert isinstance(model.get, windlass.Function) and model.get is not None
    assert model.items.is_generator and not model.get.is_generator
    assert model.get.tag == "Model.get"
    with pytest.raises(exception.ExecutionError, match="not running"):
        model.get.remote(1)
    for misuse in (model.items.remote, model.items.spawn, model.items.map):
        with pytest.raises(exception.InvalidError, match="generator"):
            misuse(1)
    with pytest.raises(exception.InvalidError, match="no generator"):
        model.get.remote_gen()
    with pytest.raises(exception.InvalidError, match="directly"):
        model.get(1)


def test_methods_without_an_object_say_so():
    for use in ("remote", "local", "map"):
        with pytest.raises(AttributeError, match=r"instantiate it: Model\(\)\.get"):
            getattr(Model.get, use)
    with pytest.raises(AttributeError, match="instantiate"):
        Model.get(1)


@pytest.mark.parametrize(
    ("make", "errors", "text"),
    [
        (lambda: Model(3), exception.InvalidError, "keyword"),
        (lambda: Model(sizes=3), (exception.InvalidError, TypeError), "no parameter 'sizes'"),
        (lambda: Model(size="3"), (exception.InvalidError, TypeError), "must be int, not str"),
        (lambda: Model(size=1.0), (exception.InvalidError, TypeError), "must be int, not float"),
        (lambda: Model(model=[1]), (exception.InvalidError, TypeError), "no parameter 'model'"),
        (lambda: Strict(text="x"), TypeError, "'number' of 'Strict' has no value"),
        (lambda: Strict(text="x", number=1, flag=1), (exception.InvalidError, TypeError), "must be bool"),
        (lambda: Strict(text="x", number=1, raw="x"), (exception.InvalidError, TypeError), "must be bytes"),
        (lambda: Strict(text="x" * 20_000, number=1), exception.InvalidError, "limit of 16,384"),
    ],
)
def test_wrong_parameters_are_refused_at_once(make, errors, text):
    for error in errors if isinstance(errors, tuple) else (errors,):
        with pytest.raises(error, match=text):
            make()


def test_booleans_are_integers_and_large_numbers_are_numbers():
    assert Strict(text="", number=True).number is True
    assert Strict(text="", number=-(10**400)).number == -(10**400)


def test_a_parameter_without_a_value_is_no_attribute():
    with pytest.raises(AttributeError, match="no value for the parameter 'model'"):
        Model().model  # noqa: B018


def decorate(**asked):
    return windlass.App("x").cls(**asked)


class WithConstructor:
    def __init__(self, x): ...


class Inherits(WithConstructor): ...


class Snap:
    @windlass.enter(snap=True)
    def early(self): ...


class NoType:
    x = windlass.parameter()


class WrongType:
    x: float = windlass.parameter()


class WrongDefault:
    x: int = windlass.parameter(default="1")


class LargeDefault:
    x: str = windlass.parameter(default="x" * 20_000)


class Nested:
    class Inner: ...


def of(member):
    """A class with one member."""
    return type("Made", (), {"member": member, "__module__": __name__, "__qualname__": "Made"})


def _yielding(self):
    yield 1


class Fine:
    @windlass.enter()
    def begin(self, patience=1): ...

    @windlass.enter()
    def anything(*args, **kwargs): ...

    @windlass.exit()
    def of_old(self, kind, exc, tb): ...

    @windlass.method()
    def get(*args): ...


def test_hooks_and_methods_may_take_what_has_defaults_or_any_number():
    assert isinstance(decorate()(Fine), windlass.Cls)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: decorate()(WithConstructor), "constructor of its own"),
        (lambda: decorate()(Inherits), "constructor of its own"),
        (lambda: decorate()(Snap), "snap=True"),
        (lambda: decorate()(NoType), "has no type"),
        (lambda: decorate()(WrongType), "float, which is not supported"),
        (lambda: decorate()(WrongDefault), "must be int"),
        (lambda: decorate()(Model), "outermost"),
        (lambda: windlass.App("x").cls(Snap), "parentheses"),
        (lambda: decorate(timeout=0)(Nested), "timeout"),
        (lambda: windlass.method(lambda self: 1), "parentheses"),
        (lambda: windlass.enter(lambda self: 1), "parentheses"),
        (lambda: windlass.exit(lambda self: 1), "parentheses"),
        (lambda: windlass.method()(Nested), "decorates methods, not the class"),
        (lambda: windlass.method()(5), "decorates functions"),
        (lambda: windlass.method()(staticmethod(len)), "staticmethod"),
        (lambda: windlass.method()(windlass.enter()(lambda self: 1)), "hook"),
        (lambda: windlass.exit()(windlass.method()(lambda self: 1)), "hook"),
        (lambda: windlass.App("x").function()(windlass.method()(lambda: 1)), "marked as a method"),
        (lambda: windlass.enter()(windlass.enter(snap=True)(lambda self: 1)), "both before and after"),
        (lambda: decorate()(of(windlass.enter()(lambda self, x: 1))), "other arguments than self"),
        (lambda: decorate()(of(windlass.enter()(lambda: 1))), "other arguments than self"),
        (lambda: decorate()(of(windlass.exit()(lambda self, x: 1))), "other arguments than self"),
        (lambda: decorate()(of(windlass.enter()(_yielding))), "generator"),
        (lambda: decorate()(of(windlass.method()(lambda: 1))), "does not take self"),
        (lambda: decorate()(of(windlass.batched(max_batch_size=2, wait_ms=1)(lambda self: 1))), "beside self"),
        (lambda: decorate()(LargeDefault), "more than the limit"),
        (lambda: windlass.Cls.from_name("app", "Model.get"), "no name of a class"),
        (lambda: windlass.Cls.from_name("app", 5), "no name of a class"),
        (lambda: windlass.Cls.from_name("no app", "Model"), "not allowed"),
        (lambda: windlass.Function.from_name("app", ""), "must be a string"),
        (lambda: windlass.Function.from_name(5, "f"), "must be a string"),
        (lambda: windlass.Function.from_name("app", "f", environment_name="a b"), "not allowed"),
    ],
)
def test_what_cannot_be_decorated_says_why_while_the_file_is_imported(act, text):
    with pytest.raises(exception.InvalidError, match=text):
        act()


def test_only_classes_are_decorated():
    with pytest.raises(TypeError, match=r"@app\.function"):
        decorate()(lambda: 1)


def test_a_local_class_needs_serialized():
    class Local:
        @windlass.method()
        def get(self):
            return 1

    with pytest.raises(exception.InvalidError, match="inside a function"):
        decorate()(Local)
    assert decorate(serialized=True)(Local)().get.local() == 1


def test_snap_hooks_are_fine_with_a_snapshot():
    assert isinstance(decorate(enable_memory_snapshot=True)(Snap), windlass.Cls)


def test_marks_of_other_decorators_reach_the_class_or_are_refused():
    from windlass.client import partial

    class Batched:
        @windlass.method()
        def other(self): ...

    Batched.get = partial.mark(lambda self, xs: xs, "batched", role=partial.METHOD, asked={"batching": {}})  # type: ignore
    with pytest.raises(exception.InvalidError, match="only method"):
        decorate(serialized=True)(Batched)
    del Batched.other
    assert decorate(serialized=True)(Batched)._service._asked == {"batching": {}}
    whole = partial.mark(Nested, "concurrent", asked={"concurrency": {"max_inputs": 2}})
    assert decorate()(whole)._service._asked == {"concurrency": {"max_inputs": 2}}

    class Wrong:
        get = partial.mark(lambda self: 1, "concurrent", asked={"concurrency": {}})

    with pytest.raises(exception.InvalidError, match="on the class"):
        decorate(serialized=True)(Wrong)


def test_classes_inherit_from_decorated_ones():
    class Child(Model):
        @windlass.method()
        def twice(self):
            return 2 * self.get.local()

    child = decorate(serialized=True)(Child)(size=3)
    assert child.twice.local() == 6 and log == ["first", "second"]


def test_another_app_can_include_classes():
    whole = windlass.App("whole").include(app)
    assert whole.registered_classes["Model"] is Model and "Model.*" in whole.registered_functions


@pytest.mark.parametrize(
    "asked",
    [
        {"cpu": -1}, {"memory": (2, 1)}, {"timeout": 0}, {"max_containers": 0}, {"scaledown_window": 1},
        {"retries": -1}, {"secrets": ["x"]}, {"env": ["A"]},
    ],
)  # fmt: skip
def test_wrong_options_of_variants_are_refused_at_once(asked):
    with pytest.raises(exception.InvalidError):
        Model.with_options(**asked)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda: Model.with_concurrency(max_inputs=2, target_inputs=3), exception.InvalidError),
        (lambda: Model.with_concurrency(max_inputs=0), exception.InvalidError),
        (lambda: Model.with_concurrency(), TypeError),
        (lambda: Model.with_batching(max_batch_size=1001, wait_ms=1), exception.InvalidError),
        (lambda: Model.with_batching(max_batch_size=1, wait_ms=-1), exception.InvalidError),
        (lambda: Model.with_options(concurrency_limit=1), exception.DeprecationError),
        (lambda: Model().get.with_options(timeout=5), exception.InvalidError),
        (lambda: Model().get.update_autoscaler(min_containers=1), exception.InvalidError),
        (lambda: windlass.Cls(), exception.InvalidError),
    ],
)
def test_other_misuse_of_variants(act, error):
    with pytest.raises(error):
        act()


def test_options_stack_field_by_field_and_secrets_replace():
    one, two = windlass.Secret.from_dict({"A": "1"}), windlass.Secret.from_dict({"B": "2"})
    stacked = Model.with_options(cpu=1, timeout=5, secrets=[one]).with_options(memory=(100, 200), secrets=[two])
    assert stacked._overrides == {
        "cpu_request": 1.0, "cpu_limit": 0.0, "timeout": 5.0, "memory_request": 100, "memory_limit": 200,
        "secrets": [two],
    }  # fmt: skip
    assert stacked(size=3).get.local() == 3
    assert Model._overrides == {}


def test_looked_up_classes_ask_nobody_until_they_are_used():
    found = windlass.Cls.from_name("some-app", "Model")
    method = found(size=3).get
    assert isinstance(method, windlass.Function) and not found.is_hydrated
    with pytest.raises(exception.ExecutionError, match="looked up"):
        method.local()
    with pytest.raises(AttributeError, match="instantiate"):
        found.get.remote()


def test_objects_of_an_app_that_does_not_run_cannot_travel():
    with pytest.raises(exception.InvalidError, match="no id yet"):
        pickle.dumps(Model(size=2).get)


def test_the_class_is_still_a_class_for_type_checkers(tmp_path):
    import subprocess
    import sys

    (tmp_path / "typed.py").write_text(
        "import windlass\n"
        "app = windlass.App('x')\n"
        "@app.cls()\n"
        "class M:\n"
        "    size: str = windlass.parameter(default='s')\n"
        "    @windlass.method()\n"
        "    def get(self, x: int) -> str: return self.size * x\n"
        "    @windlass.method()\n"
        "    async def later(self) -> int: return 1\n"
        "reveal_type(M().get.remote(1))\n"
        "reveal_type(M().later.remote())\n"
        "reveal_type(M().size)\n"
        "M().sizes\n"
        "M().get.remote('x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", "--config-file", "", str(tmp_path / "typed.py")],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    notes = [line.rpartition("note: ")[2] for line in done.stdout.splitlines() if "note: Revealed" in line]
    assert [n.split('"')[1] for n in notes] == ["str", "int", "str"], done.stdout
    assert "sizes" in done.stdout and done.stdout.count("error:") == 2, done.stdout


def test_a_class_with_slots_says_why_it_cannot_be_served():
    class Slots:
        __slots__ = ()

        @windlass.method()
        def get(self): ...

    with pytest.raises(exception.InvalidError, match="__slots__"):
        decorate(serialized=True)(Slots)().get.local()
