"""What decorators of web functions refuse while the user's file is imported."""
from __future__ import annotations

import pytest

import windlass
from windlass import exception

SHARED = (windlass.fastapi_endpoint, windlass.asgi_app, windlass.wsgi_app)


def test_the_old_name_is_refused_with_the_new_one():
    with pytest.raises(exception.DeprecationError, match="fastapi_endpoint"):
        windlass.web_endpoint(method="GET")


@pytest.mark.parametrize("decorator", SHARED)
def test_parentheses_are_needed(decorator):
    with pytest.raises(exception.InvalidError, match="parentheses"):

        @decorator
        def f():
            pass


@pytest.mark.parametrize("label", ["", "With-Capitals", "a.b", "-a", "a-", "a" * 64, "ü", 3])
def test_a_label_with_other_characters_is_refused(label):
    with pytest.raises(exception.InvalidError, match="label"):
        windlass.asgi_app(label=label)


@pytest.mark.parametrize("domains", ["shop.example.org", ["nodots"], ["UPPER.example.org"], [3], ["a..b"]])
def test_custom_domains_are_a_list_of_whole_domains(domains):
    with pytest.raises(exception.InvalidError, match="domain"):
        windlass.wsgi_app(custom_domains=domains)


@pytest.mark.parametrize("port", [0, 65536, "80", True, 8.5])
def test_a_port_is_a_number_in_range(port):
    with pytest.raises(exception.InvalidError, match="port"):
        windlass.web_server(port)


@pytest.mark.parametrize("seconds", [0, -1, "5", float("inf")])
def test_a_startup_timeout_is_more_than_nothing(seconds):
    with pytest.raises(exception.InvalidError, match="startup_timeout"):
        windlass.web_server(80, startup_timeout=seconds)


def test_an_unknown_method_is_refused():
    with pytest.raises(exception.InvalidError, match="HTTP method"):
        windlass.fastapi_endpoint(method="FETCH")


@pytest.mark.parametrize("decorator", [windlass.asgi_app(), windlass.wsgi_app(), windlass.web_server(80)])
def test_apps_are_made_by_plain_functions_without_parameters(decorator):
    app = windlass.App("refused")
    with pytest.raises(exception.InvalidError, match="async"):

        @app.function()
        @decorator
        async def f():
            pass

    with pytest.raises(exception.InvalidError, match="parameters"):

        @app.function(name="g")
        @decorator
        def g(x=1):
            pass

    with pytest.raises(exception.InvalidError, match="parameters"):

        @app.cls()
        class C:
            @decorator
            def h(self, x):
                pass


def test_generators_retries_and_batches_do_not_go_with_requests():
    app = windlass.App("refused")
    with pytest.raises(exception.InvalidError, match="generator"):

        @app.function()
        @windlass.fastapi_endpoint()
        def f():
            yield 1

    with pytest.raises(exception.InvalidError, match="retries"):

        @app.function(retries=2)
        @windlass.fastapi_endpoint()
        def g():
            pass

    with pytest.raises(exception.InvalidError, match="retries"):

        @app.cls(retries=2)
        class C:
            @windlass.fastapi_endpoint()
            def h(self):
                pass


def test_a_method_is_called_or_asked_but_not_both():
    with pytest.raises(exception.InvalidError, match="at the same time"):

        class C:
            @windlass.method()
            @windlass.fastapi_endpoint()
            def h(self):
                pass


app = windlass.App("local")


@app.function()
@windlass.concurrent(max_inputs=3)
@windlass.fastapi_endpoint()
def square(x: int = 2) -> int:
    return x * x


def test_a_web_function_still_runs_here_but_cannot_be_called():
    assert square.local(3) == 9
    for verb in (square.remote, square.spawn):
        with pytest.raises(exception.InvalidError, match="web function"):
            verb()


@pytest.mark.parametrize("port", [0, 65536, "80", True])
def test_only_ports_are_forwarded(port):
    with pytest.raises(exception.InvalidError, match="port"):
        windlass.forward(port)


def test_ports_are_forwarded_in_containers_only():
    with pytest.raises(exception.InvalidError, match="containers"):
        windlass.forward(80)
    with pytest.raises(exception.InvalidError, match="together"):
        windlass.forward(80, unencrypted=True, h2_enabled=True)


def test_a_tunnel_says_where_it_is():
    tunnel = windlass.Tunnel("127.0.0.1", 80)
    assert windlass.Tunnel("h", 1).url == "https://h:1" and windlass.Tunnel("::1", 1, plain=True).url == "http://[::1]:1"
    assert tunnel.url == "http://127.0.0.1:80" and tunnel.tls_socket == ("127.0.0.1", 80)
    with pytest.raises(exception.InvalidError, match="plain TCP"):
        _ = tunnel.tcp_socket
    assert windlass.Tunnel("h", 1, "u", 2).tcp_socket == ("u", 2)
