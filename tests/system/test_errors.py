"""Exceptions cross the border as what they are, with the remote traceback and without the platform's frames."""

from __future__ import annotations

import threading
import traceback

import pytest

import windlass
from programs import errors


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with errors.app.run():
        yield


def raised(function, *arguments) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function.remote(*arguments)
    return caught.value


def shown(exc: BaseException) -> str:
    return "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))


def test_the_exception_has_its_own_type_and_arguments():
    exc = raised(errors.fail, "deep")
    assert type(exc) is ZeroDivisionError and exc.args == ("at the bottom",)


def test_an_exception_class_of_the_program_keeps_its_attributes():
    exc = raised(errors.fail, "own")
    assert type(exc) is errors.Spoilt and (exc.grade, exc.where) == (3, "cellar")


def test_the_remote_traceback_is_spliced_in_with_its_source_lines():
    text = shown(raised(errors.fail, "deep"))
    assert text.count("in deep") == 3 or text.count(", in deep") + text.count("repeated") >= 2
    assert "programs/errors.py" in text
    assert 'raise ZeroDivisionError("at the bottom")' in text
    assert "in fail" in text


def test_the_platforms_own_frames_are_hidden():
    text = shown(raised(errors.fail, "deep"))
    assert "/__windlass/" not in text and "windlass/runner" not in text
    assert "windlass/wire" not in text


def test_tracebacks_come_from_async_functions_and_through_two_containers_too():
    assert "raise ZeroDivisionError" in shown(raised(errors.async_fail))
    text = shown(raised(errors.outer, "deep"))
    assert "raise ZeroDivisionError" in text and "in outer" in text


def test_the_cause_of_an_exception_is_shown():
    exc = raised(errors.fail, "chained")
    assert type(exc) is RuntimeError and exc.__cause__ is not None
    text = shown(exc)
    assert "ZeroDivisionError: at the bottom" in text and "direct cause" in text
    assert text.index("at the bottom") < text.index("because of the other")


def test_notes_travel_along():
    exc = raised(errors.fail, "noted")
    if hasattr(exc, "add_note"):
        assert exc.__notes__ == ["a note from afar"]


def test_a_base_exception_ends_only_its_input():
    exc = raised(errors.fail, "base")
    assert type(exc) is errors.windlass_base
    assert errors.fail.remote("none") == "fine"


def test_an_exception_that_cannot_be_pickled_arrives_as_a_clear_error():
    exc = raised(errors.fail, "unportable")
    assert isinstance(exc, windlass.Error)
    text = shown(exc)
    assert "Unportable" in text and "with a lock in it" in text and "errors.py" in text


def test_an_exception_that_cannot_be_unpickled_arrives_as_a_clear_error():
    exc = raised(errors.fail, "unreadable")
    assert isinstance(exc, windlass.Error)
    assert "Unreadable" in shown(exc)


def test_a_result_that_cannot_be_pickled_is_a_clear_error():
    exc = raised(errors.fail, "result")
    assert isinstance(exc, windlass.Error), repr(exc)
    assert str(exc).startswith("the function returned what cannot be pickled, a lock: ")
    assert errors.fail.remote("none") == "fine"


def test_an_argument_that_cannot_be_pickled_is_refused_here():
    with pytest.raises(windlass.exception.SerializationError, match="lock"):
        errors.fail.remote(threading.Lock())


def test_the_same_failure_may_be_looked_at_twice():
    call = errors.fail.spawn("own")
    for _ in range(2):
        with pytest.raises(errors.Spoilt):
            call.get()
