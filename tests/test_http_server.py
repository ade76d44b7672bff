"""What ``@app.server`` refuses while the user's file is imported, and what it makes."""
from __future__ import annotations

import pytest

import windlass
from windlass import exception, http_server


def made(**arguments) -> windlass.Server:
    app = windlass.App("made")

    @app.server(serialized=True, **arguments)
    class Made:
        @windlass.enter()
        def start(self) -> None:
            pass

    return Made


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"port": 0}, "port"), ({"port": "80"}, "port"), ({"startup_timeout": 0}, "startup_timeout"),
        ({"target_concurrency": 0}, "target_concurrency"), ({"max_concurrency": True}, "max_concurrency"),
        ({"target_concurrency": 3, "max_concurrency": 2}, "more than max_concurrency"),
        ({"scaleup_window": -1}, "scaleup_window"), ({"exit_grace_period": 5000}, "exit_grace_period"),
        ({"unauthenticated": "yes"}, "unauthenticated"), ({"name": "a b"}, "name"), ({"min_containers": -1}, "min_"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(arguments, named):
    with pytest.raises(exception.InvalidError, match=named):
        made(**arguments)


def test_http_2_to_the_program_is_not_available():
    with pytest.raises(exception.UnimplementedError, match="h2_enabled"):
        made(h2_enabled=True)


def test_its_class_starts_something_and_has_nothing_to_call():
    app = windlass.App("refused")
    with pytest.raises(exception.InvalidError, match="no hook"):
        app.server(serialized=True)(type("Empty", (), {}))
    with pytest.raises(exception.InvalidError, match="nobody calls"):
        app.server(serialized=True)(type("Called", (), {"f": windlass.method()(lambda self: 1)}))
    with pytest.raises(TypeError, match=r"@app\.server"):
        app.server()(len)
    with pytest.raises(exception.InvalidError, match="outermost"):
        app.server()(made())
    with pytest.raises(exception.InvalidError, match="target_concurrency"):
        app.server(serialized=True)(windlass.concurrent(max_inputs=3)(type("Marked", (), {})))


def test_it_answers_only_who_has_a_token_unless_said():
    for arguments, guarded in (({}, True), ({"unauthenticated": True}, False)):
        web = made(**arguments)._service._asked["web"]
        assert web["requires_proxy_auth"] is guarded and web["port"] == 8000 and web["stateless"]


def test_its_containers_take_a_thousand_requests_unless_said():
    assert made()._service._asked["concurrency"] == {"max_inputs": http_server.MANY, "target_inputs": http_server.MANY}
    asked = made(target_concurrency=5)._service._asked["concurrency"]
    assert asked == {"max_inputs": http_server.MANY, "target_inputs": 5}
    assert made(max_concurrency=7)._service._asked["concurrency"] == {"max_inputs": 7, "target_inputs": 7}


def test_a_handle_is_made_by_the_decorator_or_a_lookup():
    with pytest.raises(exception.InvalidError, match="constructed"):
        windlass.Server()
    with pytest.raises(exception.UnimplementedError, match="sessions"):
        made().sessions  # noqa: B018
