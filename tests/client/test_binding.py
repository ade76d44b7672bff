"""Methods and variants on their way to the server: what is asked, and how often."""
from __future__ import annotations

import pickle
from typing import Any

import pytest

import windlass
from windlass import exception
from windlass.client import binding

app = windlass.App("bound")


@app.cls()
class Model:
    size: int = windlass.parameter(default=1)

    @windlass.method()
    def get(self, x):
        return x

    @windlass.method()
    def items(self, n):
        yield from range(n)


@app.cls()
class Plain:
    @windlass.method()
    def get(self, x):
        return x


@app.function()
def f(x):
    return x


@pytest.fixture
def served(platform):
    """A platform that knows the class, and makes an id for whatever variant is asked for."""
    pretended = platform(lambda x: x)
    variants: dict[str, str] = {}

    def bind(incoming: Any, body: Any) -> None:
        key = repr(body)
        variants.setdefault(key, f"fu-{len(variants):022d}")
        incoming.reply({"function_id": variants[key], "app_id": "ap-1", "tag": "x", "is_generator": False})

    pretended.on_function_bind = bind
    pretended.on_secret_create = lambda incoming, body: incoming.reply({"secret_id": body["secret_id"]})
    for handle in (Model, Plain):
        handle._service._hydrate("fu-base00000000000000000" + handle._name[:1])
    f._hydrate("fu-function0000000000000")
    yield pretended
    for one in (Model._service, Plain._service, f):
        one._unhydrate()


def asked(served, method: str) -> list[Any]:
    return [body for name, body in served.seen if name == method]


def test_a_class_without_parameters_is_called_without_asking_for_a_variant(served):
    assert Plain().get.remote(3) == 3
    assert asked(served, "function.bind") == []
    (call,) = asked(served, "call.run")
    assert call["function_id"] == Plain.object_id and call["method"] == "get"


def test_an_object_is_bound_once_and_by_its_values(served):
    model = Model(size=5)
    assert model.get.remote(3) == 3
    assert list(model.get.map([1, 2])) == [1, 2]
    assert model.get.spawn(1).get() == 1
    (bound,) = asked(served, "function.bind")
    assert bound == {"function_id": Model.object_id, "parameters": '[["size","int","5"]]', "overrides": {}}
    calls = asked(served, "call.run") + asked(served, "call.create")
    assert [call["method"] for call in calls] == ["get"] * 3
    assert {call["function_id"] for call in calls} == {"fu-" + "0" * 22}


def test_another_run_of_the_app_is_another_class(served):
    model = Model()
    model.get.remote(1)
    Model._service._hydrate("fu-again0000000000000000")
    model.get.remote(1)
    assert [body["function_id"] for body in asked(served, "function.bind")] == [
        "fu-base00000000000000000M", "fu-again0000000000000000",
    ]  # fmt: skip


def test_options_go_with_the_binding(served):
    Model.with_options(timeout=5).with_options(cpu=(1, 2))(size=2).get.remote(1)
    f.with_options(memory=100).with_concurrency(max_inputs=4).with_batching(max_batch_size=3, wait_ms=5).remote(1)
    one, two = asked(served, "function.bind")
    assert one["overrides"] == {"timeout": 5.0, "cpu_request": 1, "cpu_limit": 2}
    assert two == {
        "function_id": f.object_id, "parameters": "",
        "overrides": {
            "memory_request": 100, "memory_limit": 0, "concurrency": {"max_inputs": 4, "target_inputs": 4},
            "batching": {"max_batch_size": 3, "wait_ms": 5},
        },
    }  # fmt: skip


def test_secrets_of_options_are_made_first(served):
    f.with_options(env={"A": "1"}).remote(1)
    (secret,) = asked(served, "secret.create")
    (bound,) = asked(served, "function.bind")
    assert bound["overrides"] == {"more_secrets": [secret["secret_id"]]}


def test_a_secret_of_options_is_made_again_for_another_run_of_the_app_and_only_then(served):
    wide = Model.with_options(secrets=[windlass.Secret.from_dict({"A": "1"})])
    wide(size=1).get.remote(1)
    wide(size=2).get.remote(1)
    Model._service._hydrate("fu-again0000000000000000", {**Model._service._metadata(), "app_id": "ap-again"})
    wide(size=1).get.remote(1)
    first, second = asked(served, "secret.create")
    assert second["app_id"] == "ap-again"
    assert [body["overrides"]["secrets"] for body in asked(served, "function.bind")] == [
        [first["secret_id"]], [first["secret_id"]], [second["secret_id"]],
    ]  # fmt: skip


def test_options_that_change_nothing_are_the_function_itself(served):
    f.with_options().remote(1)
    assert asked(served, "function.bind") == []
    assert asked(served, "call.run")[0]["function_id"] == f.object_id


def test_what_travels_is_what_was_asked_for(served):
    handles = [Model(size=7).get, Model(size=7), Model.with_options(timeout=3), f.with_options(timeout=3)]
    method, obj, cls, function = pickle.loads(pickle.dumps(handles))
    method.remote(1)
    obj.get.remote(1)
    cls(size=7).get.remote(1)
    function.remote(1)
    bound = [(body["parameters"], body["overrides"]) for body in asked(served, "function.bind")]
    seven = '[["size","int","7"]]'
    assert bound == [(seven, {}), (seven, {}), (seven, {"timeout": 3.0}), ("", {"timeout": 3.0})]
    assert list(obj.__class__.__mro__) and method.tag == "Model.get"
    with pytest.raises(exception.NotFoundError, match="no method 'nope'"):
        obj.nope  # noqa: B018
    with pytest.raises(exception.ParameterError):
        cls(size="7")


def looked_up(served, **more):
    info = {
        "function_id": "fu-lookedup00000000000000", "app_id": "ap-2", "tag": "Model.*", "is_generator": False,
        "class_name": "Model", "methods": {"get": {}, "items": {"is_generator": True}},
        "parameters": [{"name": "size", "type": "int", "has_default": True, "default": "1"}], **more,
    }  # fmt: skip
    served.on_function_get = lambda incoming, body: incoming.reply(info)
    return windlass.Cls.from_name("app", "Model", environment_name="dev")


def test_a_looked_up_class_is_looked_up_when_it_is_used(served):
    cls = looked_up(served)
    assert cls(size=9).get.remote(1) == 1
    assert asked(served, "function.get") == [{"app_name": "app", "tag": "Model.*", "environment": "dev"}]
    assert asked(served, "function.bind")[0]["parameters"] == '[["size","int","9"]]'
    assert cls().get.remote(1) == 1
    assert asked(served, "function.bind")[1]["parameters"] == '[["size","int","1"]]'


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda cls: cls(size="x").get.remote(1), exception.ParameterError),
        (lambda cls: cls(other=1).get.remote(1), exception.ParameterError),
        (lambda cls: cls().nope.remote(1), exception.NotFoundError),
        (lambda cls: cls().items.remote(1), exception.InvalidError),
        (lambda cls: list(cls().items.map([1])), exception.InvalidError),
        (lambda cls: list(cls().get.remote_gen(1)), exception.InvalidError),
        (lambda cls: cls.hydrate()().nope, exception.NotFoundError),
        (lambda cls: cls.hydrate().nope, exception.NotFoundError),
    ],
)
def test_misuse_of_a_looked_up_class_is_told_at_its_first_use(served, use, error):
    with pytest.raises(error):
        use(looked_up(served))
    assert asked(served, "call.run") == []


def test_when_variants_are_made_too_fast_the_caller_waits_a_while(served, monkeypatch):
    refusals = [1]
    answer = served.on_function_bind

    def bind(incoming, body):
        if refusals and refusals.pop():
            incoming.fail(exception.ResourceExhaustedError("too fast"))
        else:
            answer(incoming, body)

    served.on_function_bind = bind
    assert Model(size=8).get.remote(1) == 1
    assert len(asked(served, "function.bind")) == 2
    monkeypatch.setattr(binding, "_PATIENCE", -1.0)
    refusals.append(1)
    with pytest.raises(exception.ResourceExhaustedError, match="too fast"):
        Model(size=9).get.remote(1)


def test_the_autoscaler_is_that_of_the_set_of_parameters(served):
    served.on_function_autoscaler = lambda incoming, body: incoming.reply(body)
    body = Model(size=3).update_autoscaler(min_containers=2)
    (bound,) = asked(served, "function.bind")
    assert body == {"min_containers": 2, "function_id": "fu-" + "0" * 22} and "3" in bound["parameters"]
