"""Spawned calls: found again by their id, gathered, listed, drawn as a graph."""

from __future__ import annotations

import pytest

import windlass
from programs import calls
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with calls.app.run():
        yield


def test_a_call_is_found_again_by_its_id():
    call = calls.add.spawn(1, 2)
    again = windlass.FunctionCall.from_id(call.object_id)
    assert again.get() == 3 and call.get() == 3 and again.num_inputs() == 1


def test_gather_returns_in_order_and_raises_the_first_failure():
    assert windlass.FunctionCall.gather(*[calls.add.spawn(i) for i in range(10)]) == list(range(1, 11))
    with pytest.raises(TypeError):
        windlass.FunctionCall.gather(calls.add.spawn(1), calls.add.spawn("x"))


def test_iter_gives_the_results_of_a_call():
    call = calls.add.spawn(4)
    assert list(call.iter()) == [5]
    with pytest.raises(ValueError):
        list(call.iter(start=2, end=1))


def test_the_graph_shows_who_called_whom():
    call = calls.fan_out.spawn(3)
    assert call.get() == 6
    (root,) = until(call.get_call_graph, what="a graph")
    assert root.function_call_id == call.object_id and root.function_name == "fan_out"
    assert root.status.name == "SUCCESS" and root.task_id.startswith("ta-")
    children = until(lambda: (g := call.get_call_graph()[0].children) and len(g) == 3 and g, what="three children")
    assert {child.function_name for child in children} == {"add"}
    assert {child.status.name for child in children} == {"SUCCESS"}


def test_a_graph_shows_failures():
    call = calls.add.spawn("not a number")
    with pytest.raises(TypeError):
        call.get()
    assert call.get_call_graph()[0].status.name == "FAILURE"


def test_a_result_is_there_after_the_app_has_stopped():
    app = windlass.App("test-after")
    function = app.function(serialized=True)(lambda: "kept")
    with app.run():
        call = function.spawn()
        call.get()
    assert windlass.FunctionCall.from_id(call.object_id).get() == "kept"
