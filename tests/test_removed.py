"""Names that the reference has removed: whoever still uses them reads what to use instead."""
from __future__ import annotations

import warnings

import pytest
from click import testing

import windlass as modal
from windlass import exception
from windlass.cli import __main__ as cli

IMAGE = modal.Image.debian_slim()
APP = modal.App("old")


@APP.function(serialized=True)
def f(x):
    return x


def function(**options):
    return modal.App("one").function(serialized=True, **options)(lambda: None)


def with_constructor():
    @modal.App("two").cls(serialized=True)
    class Own:
        def __init__(self, x):
            self.x = x


def without_object():
    @modal.App("three").cls(serialized=True)
    class Plain:
        @modal.method()
        def m(self):
            pass

    Plain.m.remote()


REMOVED = {
    "Stub": (lambda: modal.Stub("x"), "App"),
    "web_endpoint": (lambda: modal.web_endpoint(method="GET"), "fastapi_endpoint"),
    "gpu.A100": (lambda: modal.gpu.A100(count=2), 'gpu="A100:2"'),
    "gpu.parse_gpu_config": (lambda: modal.gpu.parse_gpu_config("T4"), 'gpu="T4"'),
    "Mount": (lambda: modal.Mount.from_local_dir("x"), "add_local_dir"),
    "mounts=": (lambda: function(mounts=[1]), "add_local_python_source"),
    "context_mount=": (lambda: IMAGE.dockerfile_commands("RUN true", context_mount=1), "context_dir"),
    "Image.copy": (lambda: IMAGE.copy("x"), "add_local_file"),
    "Image.copy_mount": (lambda: IMAGE.copy_mount("x"), "add_local_file"),
    "Image.copy_local_file": (lambda: IMAGE.copy_local_file("x"), "add_local_file"),
    "Image.copy_local_dir": (lambda: IMAGE.copy_local_dir("x"), "add_local_dir"),
    "keep_warm=": (lambda: function(keep_warm=1), "min_containers"),
    "concurrency_limit=": (lambda: function(concurrency_limit=1), "max_containers"),
    "container_idle_timeout=": (lambda: function(container_idle_timeout=9), "scaledown_window"),
    "allow_concurrent_inputs=": (lambda: function(allow_concurrent_inputs=9), "@concurrent"),
    "Function.lookup": (lambda: modal.Function.lookup("a", "b"), "from_name"),
    "Cls.lookup": (lambda: modal.Cls.lookup("a", "b"), "from_name"),
    "Function.call": (lambda: f.call(1), "remote"),
    "Function.shell": (lambda: f.shell(), "windlass shell"),
    "Function.keep_warm": (lambda: f.keep_warm(1), "min_containers"),
    "Function.web_url": (lambda: f.web_url, "get_web_url"),
    "build": (lambda: modal.build(), "Image.run_function"),
    "a constructor of a class": (with_constructor, "parameter"),
    "a method of a class without an object": (without_object, "instantiate"),
    "Function.from_name of a method": (lambda: modal.Function.from_name("App", "Cls.m"), "Cls.from_name"),
}


@pytest.mark.parametrize("old", REMOVED)
def test_what_was_removed_names_its_replacement(old):
    use, new = REMOVED[old]
    with pytest.raises(Exception) as refused:
        use()
    shown = f"{refused.value} {getattr(refused.value, 'hint', '')}"
    assert new in shown, shown
    assert isinstance(refused.value, (exception.DeprecationError, exception.InvalidError, AttributeError))


DEPRECATED = {
    "max_inputs=1": (lambda: function(max_inputs=1), "single_use_containers"),
}


@pytest.mark.parametrize("old", DEPRECATED)
def test_what_is_deprecated_works_and_warns_of_its_replacement(old):
    use, new = DEPRECATED[old]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        use()
    found = [one for one in seen if issubclass(one.category, exception.DeprecationError) and new in str(one.message)]
    assert found and found[0].filename == __file__, "it names the user's line"


@pytest.mark.parametrize("command", ["bootstrap", "cluster", "lookup"])
def test_removed_commands_name_what_does_their_work(command):
    answer = testing.CliRunner().invoke(cli.root, [command])
    assert answer.exit_code == 2 and "It was removed; use `windlass " in answer.output
