"""``@concurrent`` and ``@batched`` as their users write them: what is refused, and when."""
from __future__ import annotations

import pytest

import windlass
from windlass import exception

app = windlass.App("asked")


def plain(x):
    return x


def asked(decorate, raw_f=plain, **options):
    return app.function(serialized=True, name="f", **options)(decorate(raw_f))._asked


@pytest.fixture(autouse=True)
def fresh():
    app._functions.clear()


def test_they_say_how_many_inputs_a_container_takes():
    several = windlass.concurrent(max_inputs=5, target_inputs=3)
    together = windlass.batched(max_batch_size=4, wait_ms=10)
    assert asked(several) == {"concurrency": {"max_inputs": 5, "target_inputs": 3}}
    app._functions.clear()
    assert asked(together) == {"batching": {"max_batch_size": 4, "wait_ms": 10}}
    app._functions.clear()
    assert asked(lambda raw_f: several(together(raw_f))) == {
        "concurrency": {"max_inputs": 5, "target_inputs": 3}, "batching": {"max_batch_size": 4, "wait_ms": 10},
    }  # fmt: skip
    app._functions.clear()
    assert asked(windlass.concurrent(max_inputs=5)) == {"concurrency": {"max_inputs": 5, "target_inputs": 5}}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: windlass.concurrent(), TypeError),
        (lambda: windlass.concurrent(5), TypeError),
        (lambda: windlass.concurrent(max_inputs=0), exception.InvalidError),
        (lambda: windlass.concurrent(max_inputs="5"), exception.InvalidError),
        (lambda: windlass.concurrent(max_inputs=100_001), exception.InvalidError),
        (lambda: windlass.concurrent(max_inputs=2, target_inputs=3), exception.InvalidError),
        (lambda: windlass.batched(max_batch_size=1), TypeError),
        (lambda: windlass.batched(max_batch_size=0, wait_ms=0), exception.InvalidError),
        (lambda: windlass.batched(max_batch_size=1001, wait_ms=0), exception.InvalidError),
        (lambda: windlass.batched(max_batch_size=1, wait_ms=-1), exception.InvalidError),
        (lambda: windlass.batched(max_batch_size=1, wait_ms=600_001), exception.InvalidError),
    ],
)
def test_wrong_numbers_are_refused(wrong, error):
    with pytest.raises(error):
        wrong()


def defaults(x, y=1): ...


def any_number(*x): ...


def any_names(**x): ...


def generator(x):
    yield x


async def agenerator(x):
    yield x


def nothing(): ...


@pytest.mark.parametrize("raw_f", [defaults, any_number, any_names, generator, agenerator, nothing])
def test_what_cannot_be_batched_is_refused(raw_f):
    batched = windlass.batched(max_batch_size=2, wait_ms=1)
    with pytest.raises(exception.InvalidError):
        batched(raw_f)
    with pytest.raises(exception.InvalidError):
        app.function(serialized=True, name="f")(raw_f).with_batching(max_batch_size=2, wait_ms=1)


@pytest.mark.parametrize(
    "decorator", [lambda n: windlass.concurrent(max_inputs=n), lambda n: windlass.batched(max_batch_size=n, wait_ms=1)]
)
def test_a_decorator_that_stands_twice_contradicts_itself(decorator):
    with pytest.raises(exception.InvalidError, match="stands twice"):
        decorator(2)(decorator(3)(lambda x: x))


def test_a_function_said_to_be_a_generator_cannot_be_batched():
    with pytest.raises(exception.InvalidError, match="generator"):
        asked(windlass.batched(max_batch_size=2, wait_ms=1), is_generator=True)


@pytest.mark.parametrize(
    "decorate", [windlass.concurrent(max_inputs=2), windlass.batched(max_batch_size=2, wait_ms=1)]
)
def test_the_apps_decorator_must_be_the_outermost(decorate):
    with pytest.raises(exception.InvalidError, match="above"):
        decorate(app.function(serialized=True, name="f")(plain))


def test_a_method_is_no_function():
    with pytest.raises(exception.InvalidError, match="method"):
        asked(lambda raw_f: windlass.concurrent(max_inputs=2)(windlass.method()(raw_f)))


def test_the_limits_of_a_class_stand_on_the_class_and_its_only_method_may_be_batched():
    class Batched:
        @windlass.batched(max_batch_size=2, wait_ms=1)
        def add(self, x): ...

    handle = app.cls(serialized=True)(windlass.concurrent(max_inputs=2)(Batched))
    assert handle._service._asked.keys() == {"concurrency", "batching"}

    class Two(Batched):
        @windlass.method()
        def other(self): ...

    with pytest.raises(exception.InvalidError, match="only method"):
        app.cls(serialized=True)(Two)

    class OnMethod:
        @windlass.concurrent(max_inputs=2)
        @windlass.method()
        def add(self, x): ...

    with pytest.raises(exception.InvalidError, match="on the class"):
        app.cls(serialized=True)(OnMethod)

    with pytest.raises(exception.InvalidError, match="not the class"):
        windlass.batched(max_batch_size=2, wait_ms=1)(Batched)
