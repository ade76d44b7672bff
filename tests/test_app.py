from __future__ import annotations

import warnings

import pytest

import windlass
from windlass import exception
from windlass.client import here


def at_top(x: int = 0) -> int:
    return x


def other(x: int = 0) -> int:
    return -x


class Thing:
    def method(self): ...


@pytest.mark.parametrize("name", ["", "a" * 65, "no spaces", "ap-0123456789012345678901", 5])
def test_a_bad_name_is_refused_at_once(name):
    with pytest.raises(exception.InvalidError):
        windlass.App(name)


@pytest.mark.parametrize("tags", [{"key": ""}, {"": "v"}, {"k": "not allowed"}, ["list"], {"k": 1}])
def test_bad_tags_are_refused(tags):
    with pytest.raises(exception.InvalidError):
        windlass.App("ok", tags=tags)


def test_secrets_must_be_secrets():
    with pytest.raises(exception.InvalidError):
        windlass.App(secrets=["no"])
    with pytest.raises(exception.InvalidError):
        windlass.App(secrets=windlass.Secret.from_dict({}))


def test_the_handle_stands_for_the_function_and_cannot_be_called_directly():
    app = windlass.App("a")
    handle = app.function()(at_top)
    assert isinstance(handle, windlass.Function)
    assert handle.tag == "at_top"
    assert handle.local(5) == 5
    with pytest.raises(exception.InvalidError, match="directly") as caught:
        handle(5)
    assert "at_top.remote" in caught.value.hint


def test_without_a_running_app_remote_says_what_to_do():
    handle = windlass.App("a").function()(at_top)
    with pytest.raises(exception.ExecutionError, match="not running"):
        handle.remote(1)


def test_decorating_a_class_is_a_type_error():
    with pytest.raises(TypeError, match=r"@app\.cls"):
        windlass.App("a").function()(Thing)


@pytest.mark.parametrize(
    ("decorate", "text"),
    [
        (lambda app: app.function()(Thing.method), "method"),
        (lambda app: app.function()(lambda: 1), "inside another function|lambda"),
        (lambda app: app.function(at_top), "parentheses"),
        (lambda app: app.function()(app.function()(at_top)), "outermost"),
        (lambda app: app.function()(5), "functions"),
        (lambda app: app.local_entrypoint(at_top), "parentheses"),
    ],
)
def test_what_cannot_be_decorated_says_why(decorate, text):
    with pytest.raises(exception.InvalidError, match=text):
        decorate(windlass.App("a"))


def test_a_nested_function_needs_serialized():
    def nested():
        return 1

    with pytest.raises(exception.InvalidError) as caught:
        windlass.App("a").function()(nested)
    assert "serialized=True" in caught.value.hint
    assert windlass.App("a").function(serialized=True)(nested).local() == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"timeout": None}, {"timeout": 0}, {"timeout": 90_000}, {"startup_timeout": 0}, {"cpu": (2, 1)}, {"cpu": -1},
        {"memory": (512, 256)}, {"memory": 1.5}, {"min_containers": 3, "max_containers": 2}, {"max_containers": 0},
        {"scaledown_window": 1}, {"scaledown_window": 3601}, {"retries": "many"}, {"retries": -1},
        {"ephemeral_disk": 4 * 1024 * 1024}, {"image": "debian"}, {"secrets": ["x"]}, {"env": ["A"]},
        {"max_inputs": 2}, {"name": "no spaces"}, {"cpu": float("inf")}, {"cpu": 1e9}, {"memory": 10**40},
        {"min_containers": 10**9}, {"retries": 10**9}, {"restrict_modal_access": "no"}, {"include_source": "yes"},
        {"single_use_containers": 1}, {"region": 5}, {"cloud": ["aws"]},
    ],
)  # fmt: skip
def test_wrong_options_are_refused_while_the_file_is_imported(asked):
    with pytest.raises(exception.InvalidError):
        windlass.App("a").function(**asked)(at_top)


@pytest.mark.parametrize(
    ("asked", "instead"),
    [
        ({"keep_warm": 1}, "min_containers"), ({"concurrency_limit": 1}, "max_containers"),
        ({"container_idle_timeout": 5}, "scaledown_window"), ({"allow_concurrent_inputs": 5}, "concurrent"),
    ],
)  # fmt: skip
def test_removed_options_name_their_replacement(asked, instead):
    with pytest.raises(exception.DeprecationError, match=instead):
        windlass.App("a").function(**asked)(at_top)


def test_what_leads_out_is_checked_while_the_file_is_imported():
    for asked, said in (
        ({"proxy": "mine"}, "must be a Proxy"), ({"outbound_cidr_allowlist": ["example.com"]}, "neither a network"),
        ({"outbound_domain_allowlist": "example.com"}, "must be a list"),
        ({"outbound_domain_allowlist": [], "block_network": True}, "leaves no network"),
        ({"proxy": windlass.Proxy.from_name("p"), "block_network": True}, "leaves no network"),
    ):  # fmt: skip
        with pytest.raises(exception.InvalidError, match=said):
            windlass.App("a").function(**asked)(at_top)


def test_generators_cannot_be_retried():
    def items():
        yield 1

    with pytest.raises(exception.InvalidError, match="generator"):
        windlass.App("a").function(serialized=True, retries=1)(items)


def test_kinds_of_functions_are_told_apart():
    def gen():
        yield 1

    async def coro(): ...

    async def agen():
        yield 1

    app = windlass.App("a")
    found = {f: app.function(serialized=True)(f)._source for f in (gen, coro, agen)}
    assert [(s.is_generator, s.is_async) for s in found.values()] == [(True, False), (False, True), (True, True)]
    assert app.function(serialized=True, is_generator=True)(lambda: gen()).is_generator


def test_the_wrong_call_for_the_kind_is_refused():
    def gen():
        yield 1

    app = windlass.App("a")
    items, plain = app.function(serialized=True)(gen), app.function()(at_top)
    for wrong in (items.remote, items.spawn, lambda: items.map([1]), plain.remote_gen):
        with pytest.raises(exception.InvalidError, match="generator"):
            wrong()


def test_two_functions_of_one_name_warn_and_the_later_counts():
    app = windlass.App("a")
    app.function(name="f")(at_top)
    with pytest.warns(UserWarning, match="two functions"):
        later = app.function(name="f")(other)
    assert app._functions["f"] is later


def test_two_entrypoints_of_one_name_are_an_error():
    app = windlass.App("a")
    entry = app.local_entrypoint()(at_top)
    assert entry(3) == 3
    with pytest.raises(exception.InvalidError, match="two"):
        app.local_entrypoint(name="at_top")(other)


def test_include_takes_functions_and_tags_and_own_tags_win():
    part = windlass.App("part", tags={"a": "part", "b": "part"})
    handle = part.function()(at_top)
    whole = windlass.App("whole", tags={"a": "whole"}).include(part)
    assert whole._functions == {"at_top": handle}
    assert whole._tags == {"a": "whole", "b": "part"}
    assert windlass.App("other").include(part, inherit_tags=False)._tags == {}


def test_run_is_refused_while_a_module_is_imported(monkeypatch):
    monkeypatch.setattr(here, "importing", True)
    with pytest.raises(exception.InvalidError, match="imported"):
        windlass.App("a").run()


def test_functions_of_the_containers_own_app_know_their_ids(monkeypatch):
    info = {"function_id": "fu-x", "app_id": "ap-x", "tag": "at_top", "is_generator": False}
    plan = {"app": {"app_id": "ap-x", "app_name": "a", "functions": {"at_top": info}}}
    monkeypatch.setattr(here, "plan", plan)
    assert windlass.App("a").function()(at_top).object_id == "fu-x"
    assert not windlass.App("b").function()(at_top).is_hydrated


def test_typed_stand_ins_are_complete():
    handle = windlass.App("a").function()(at_top)
    for name in ("remote", "spawn", "map", "starmap", "for_each", "spawn_map", "remote_gen", "get_current_stats"):
        assert hasattr(getattr(handle, name), "aio"), name
        assert hasattr(getattr(windlass.Function, name), "aio"), name


def test_looked_up_functions_have_no_code_here():
    looked_up = windlass.Function.from_name("app", "f")
    with pytest.raises(exception.ExecutionError, match="looked up"):
        looked_up.local()
    with pytest.raises(exception.InvalidError, match="method"):
        windlass.Function.from_name("app", "Cls.method")


def test_retries_are_checked():
    assert windlass.Retries(max_retries=2).initial_delay == 1.0
    for wrong in ({"max_retries": -1}, {"backoff_coefficient": 11}, {"max_delay": 0}):
        with pytest.raises(exception.InvalidError):
            windlass.Retries(**{"max_retries": 1, **wrong})


def test_an_integer_means_so_many_retries_a_second_apart():
    spec = windlass.App("a").function(retries=4)(at_top)._options.retries
    assert spec == {"max_retries": 4, "backoff_coefficient": 1.0, "initial_delay": 1.0, "max_delay": 60.0}


def test_outside_of_containers_nothing_is_current():
    assert windlass.is_local()
    assert windlass.current_input_id() is None
    assert windlass.current_function_call_id() is None
    with pytest.raises(exception.InvalidError):
        windlass.interact()


def test_removed_names_can_be_imported_and_say_what_to_use():
    from windlass import Stub

    with pytest.raises(exception.DeprecationError, match="App"):
        Stub("x")
    app, image = windlass.App(), windlass.Image.debian_slim()
    for use, instead in (
        (lambda: windlass.Mount.from_local_dir("."), "Image.add_local_dir"),
        (lambda: windlass.gpu.A100(count=2), 'gpu="A100:2"'),
        (lambda: image.copy_local_dir("."), "Image.add_local_dir"),
        (lambda: image.copy_local_file("x"), "Image.add_local_file"),
        (lambda: image.copy_mount(windlass.Mount), "Image.add_local_file"),
        (lambda: app.function()(at_top).call(1), "Function.remote"),
    ):
        with pytest.raises(exception.DeprecationError) as caught:
            use()
        assert "was removed; use" in str(caught.value) and instead.split(".")[-1] in str(caught.value)


def test_importing_windlass_imports_next_to_nothing():
    import subprocess
    import sys

    heavy = ("asyncio", "typing", "inspect", "json", "threading")
    code = f"import sys; sys.path[:0] = {sys.path}; import windlass; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_what_shall_not_be_preempted_cannot_have_a_gpu():
    with pytest.raises(windlass.exception.InvalidError, match="nonpreemptible"):
        windlass.App().function(nonpreemptible=True, gpu="T4")(at_top)


def test_a_warning_names_the_line_where_the_decorator_stands():
    app = windlass.App("warned")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        app.function(max_inputs=1, serialized=True)(lambda: 1)
        app.cls(max_inputs=1, serialized=True)(type("Counter", (), {}))
        app.function(name="f", serialized=True)(lambda: 1)
        app.function(name="f", serialized=True)(lambda: 2)
    assert {(one.filename, str(one.message).split(":")[0].split(";")[0]) for one in said} == {
        (__file__, "max_inputs=1 is deprecated"), (__file__, "two functions of App('warned') are named 'f'"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: windlass.App("a").function(nonsense=1), "App.function"),
        (lambda: windlass.Image.debian_slim(nonsense=1), "Image.debian_slim"),
        (lambda: windlass.Sandbox.create(nonsense=1), "Sandbox.create"),
    ],
)
def test_an_argument_that_is_not_there_is_refused_by_the_name_that_users_know(call, name):
    with pytest.raises(TypeError, match=rf"^{name}\(\)"):
        call()
