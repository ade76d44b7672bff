"""Functions whose names may change, without a container."""
from __future__ import annotations

import pytest

import windlass
from windlass import exception, experimental

app = windlass.App("experiments")


@app.cls()
class Model:
    size: int = windlass.parameter(default=1)

    @windlass.method()
    def get(self) -> int:
        return self.size


@app.function()
def f() -> None: ...


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2", None])
def test_a_wrong_number_of_inputs_is_refused(count):
    with pytest.raises(exception.InvalidError, match="positive integer"):
        experimental.set_local_input_concurrency(count)


@pytest.mark.parametrize(
    "call",
    [
        experimental.get_local_input_concurrency,
        lambda: experimental.set_local_input_concurrency(1),
        experimental.stop_fetching_inputs,
    ],
)
def test_outside_of_a_container_it_is_said_so(call):
    with pytest.raises(exception.InvalidError, match="container"):
        call()


def test_deployed_apps_are_listed_with_their_containers(platform):
    states = {"shop": "deployed", "trial": "ephemeral", "old": "stopped"}
    apps = [{"app_id": f"ap-{name}", "name": name, "containers": 2, "state": state} for name, state in states.items()]
    served = platform(lambda: None)
    served.on_app_list = lambda incoming, body: incoming.reply({"apps": apps})
    assert experimental.list_deployed_apps("staging") == [experimental.AppInfo("ap-shop", "shop", 2)]
    assert served.seen[-1] == ("app.list", {"limit": 1000, "environment": "staging"})
    known = [{"environment_id": "en-1", "name": name, "default": name == "main"} for name in ("other", "main")]
    served.on_environment_list = lambda incoming, body: incoming.reply({"environments": known})
    assert experimental.list_deployed_apps() == [experimental.AppInfo("ap-shop", "shop", 2)]
    assert served.seen[-1] == ("app.list", {"limit": 1000, "environment": "main"})


def test_the_objects_of_an_app_are_handles_by_name(platform):
    served = platform(lambda: None)
    served.on_app_get = lambda incoming, body: incoming.reply({"functions": {"f": "fu-1", "Model.*": "fu-2"}})
    found = experimental.get_app_objects("shop", environment_name="staging")
    assert isinstance(found["f"], windlass.Function) and isinstance(found["Model"], windlass.Cls) and len(found) == 2
    assert found["f"]._lookup == {"app_name": "shop", "tag": "f", "environment": "staging"}


def test_one_way_for_the_autoscaler_of_functions_and_objects(platform):
    served = platform(lambda: None)
    served.on_function_autoscaler = lambda incoming, body: incoming.reply(body)
    bound = {"function_id": "fu-variant", "app_id": "ap-1", "tag": "Model.*", "is_generator": False}
    served.on_function_bind = lambda incoming, body: incoming.reply(bound)
    f._hydrate("fu-function0000000000000")
    Model._service._hydrate("fu-model000000000000000x")
    experimental.update_autoscaler(f, min_containers=2)
    experimental.update_autoscaler(Model(), max_containers=3)
    assert f.autoscaler.update(max_containers=None, buffer_containers=1) == {
        "function_id": "fu-function0000000000000", "max_containers": 0, "buffer_containers": 1,
    }  # fmt: skip
    assert f.autoscaler.settings() == {"function_id": "fu-function0000000000000"}
    assert [body for method, body in served.seen if method == "function.autoscaler"][:2] == [
        {"function_id": "fu-function0000000000000", "min_containers": 2},
        {"function_id": "fu-variant", "max_containers": 3},
    ]
    for one in (f, Model._service):
        one._unhydrate()


def test_wrong_bounds_are_refused_before_anybody_is_asked():
    with pytest.raises(exception.InvalidError, match="min_containers"):
        f.update_autoscaler(min_containers=-1)
    with pytest.raises(exception.InvalidError, match="less than"):
        f.autoscaler.update(min_containers=3, max_containers=2)
    with pytest.raises(exception.InvalidError, match="scaledown_window"):
        Model().update_autoscaler(scaledown_window=1)
    for wrong in (Model().get.update_autoscaler, Model().get.autoscaler.update, Model().get.autoscaler.settings):
        with pytest.raises(exception.InvalidError, match="no containers of its own"):
            wrong()
    with pytest.raises(exception.InvalidError, match="autoscaler"):
        experimental.update_autoscaler(Model, min_containers=1)


def test_there_is_no_dashboard_and_that_is_said():
    for one in (app, f, Model):
        with pytest.raises(exception.UnimplementedError, match="no dashboard"):
            one.get_dashboard_url()


def test_names_of_old_can_be_imported():
    from windlass import runner

    assert issubclass(exception.PendingDeprecationError, UserWarning)
    assert issubclass(exception.FilesystemExecutionError, exception.Error)
    assert not issubclass(exception.UserCodeException, exception.Error)
    with pytest.raises(exception.InvalidError, match="without a name"):
        runner.deploy_app(windlass.App())
    assert hasattr(runner.run_app(app), "__enter__") and hasattr(runner.run_app(app), "__aenter__")
