from __future__ import annotations

import asyncio
import warnings

import pytest

import windlass
from windlass import exception
from windlass.client import bridge, mount


def at_top(x: int = 0) -> int:
    return x


def other(x: int = 0) -> int:
    return -x


@pytest.mark.parametrize(("python", "said"), [("", "no Python"), ("3.9", r"Python 3\.9")])
def test_a_function_whose_image_has_no_python_that_fits_is_refused_before_it_is_created(platform, python, said):
    served = platform(lambda x: x)
    served.on_app_create = lambda incoming, body: incoming.reply({"app_id": body["app_id"]})

    def build(incoming, body):
        incoming.item({"kind": "done", "image_id": "im-1", "python": python})
        incoming.end()

    served.on_image_build = build
    app = windlass.App("a")
    app.function()(at_top)
    with pytest.raises(exception.InvalidError, match=said) as caught, app.run():
        pass
    assert "add_python" in caught.value.hint and "function.create" not in served.methods()


def test_an_app_runs_against_a_platform(platform):
    served = platform(lambda x: x + 1)
    made = {}
    for method, reply in {
        "app.create": lambda b: {"app_id": b["app_id"]},
        "function.create": lambda b: made.update({b["function_id"]: b["spec"]})
        or {"function_id": b["function_id"], "app_id": b["app_id"], "tag": b["spec"]["tag"], "is_generator": False},
        "secret.create": lambda b: {"secret_id": b["secret_id"]},
        "blob.missing": lambda b: {"missing": b["digests"]},
    }.items():
        setattr(served, "on_" + method.replace(".", "_"), lambda i, b, reply=reply: i.reply(reply(b)))

    def build(incoming, body):
        incoming.item({"kind": "done", "image_id": "im-1", "python": "3.11"})
        incoming.end()

    served.on_image_build = build
    app = windlass.App("a", secrets=[windlass.Secret.from_dict({"A": "1"})])
    first = app.function(env={"B": "2"}, cpu=(0.5, 1), timeout=10)(at_top)
    second = app.function()(other)
    with app.run():
        assert app.app_id is not None
        assert first.remote(1) == 2
        spec = made[first.object_id]
        assert (spec["module"].rpartition(".")[2], spec["qualname"]) == ("test_run", "at_top")
        assert (spec["cpu_request"], spec["cpu_limit"], len(spec["secrets"]), len(spec["mounts"])) == (0.5, 1.0, 2, 1)
        assert second.is_hydrated
        with pytest.raises(exception.InvalidError, match="already"):
            app.run()
    assert not first.is_hydrated
    order = served.methods()
    assert order.index("app.create") < order.index("function.create") < order.index("app.publish")
    assert order.index("app.publish") < order.index("call.run") < order.index("app.stop")

    async def again():
        async with app.run():
            return await second.remote.aio(5)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(again()) == 6


def test_an_interrupt_stops_the_app_and_is_swallowed(platform):
    served = platform(lambda x: x)
    app = windlass.App("a")
    with app.run():
        raise KeyboardInterrupt
    assert [body["reason"] for method, body in served.seen if method == "app.stop"] == ["interrupted"]


def test_an_exception_stops_the_app_and_is_raised(platform):
    served = platform(lambda x: x)
    with pytest.raises(ValueError, match="mine"):
        with windlass.App("a").run():
            raise ValueError("mine")
    (body,) = [body for method, body in served.seen if method == "app.stop"]
    assert body["reason"] == "error"
    assert "mine" in body["message"]


def test_a_local_file_that_is_missing_is_told_without_our_frames(tmp_path):
    missing = mount.Mount(mount.File(tmp_path / "missing", "x"))
    with pytest.raises(FileNotFoundError, match="missing") as caught:
        missing.files()
    assert bridge.shown(caught.value).__traceback__ is None
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "another").read_text()
    assert bridge.shown(caught.value).__traceback__ is not None, "the user's own"


def test_of_an_app_that_never_began_no_end_is_told(platform, capfd):
    served = platform(lambda x: x)
    served.on_app_create = lambda incoming, body: incoming.fail(exception.PermissionDeniedError("not you"))
    app = windlass.App("a")
    with pytest.raises(exception.PermissionDeniedError), windlass.enable_output(), app.run():
        pass
    assert "stopped" not in "".join(capfd.readouterr())
