"""What `windlass curl` tells curl: where names below .localhost are."""
from __future__ import annotations

import pytest

from windlass import paths
from windlass.cli import curl, programs


@pytest.fixture(autouse=True)
def ports(tmp_path, monkeypatch):
    monkeypatch.setenv("WINDLASS_HOME", str(tmp_path))
    (tmp_path / "web.port").write_text("8640 43210\n")
    (tmp_path / "web.tls.port").write_text("43211\n")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("http://local--a-f.localhost:8640/x", "local--a-f.localhost:8640:127.0.0.1:8640"),
        ("http://local--a-f.localhost/x?y=z", "local--a-f.localhost:80:127.0.0.1:43210"),
        ("local--a-f.localhost", "local--a-f.localhost:80:127.0.0.1:43210"),
        ("https://local--a-f.localhost", "local--a-f.localhost:443:127.0.0.1:43211"),
    ],
)
def test_the_port_may_be_left_out(argument, told):
    assert curl._resolving(("-s", argument)) == ["--connect-to", told]


@pytest.mark.parametrize(
    "argument", ["https://example.org/", "Host: local--a.localhost", "-o", "a.localhost.example.org", "x=a.localhost:b"]
)
def test_other_arguments_are_curls_own(argument):
    assert curl._resolving((argument,)) == []


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (("shop.site",), ("http://there",)),
        (("-X", "POST", "shop.site/a?b=c"), ("-X", "POST", "http://there/a?b=c")),
        (("shop.site?b=c", "-i"), ("http://there?b=c", "-i")),
        (("shop.site", "example.com"), ("http://there", "example.com")),
    ],
)
def test_a_function_may_be_named_in_the_place_of_its_url(monkeypatch, given, becomes):
    monkeypatch.setattr(curl, "_url", {"shop.site": "http://there"}.get)
    assert curl._addressed(given) == becomes


@pytest.mark.parametrize(
    "given",
    [
        ("example.com/x",),
        ("-o", "shop.site", "http://x.localhost"),
        ("http://a.b",),
        ("http://a.b", "-o", "shop.site"),
        ("x.localhost/y", "-o", "shop.site"),
    ],
)
def test_hosts_files_and_urls_are_left_to_curl(monkeypatch, given):
    monkeypatch.setattr(curl, "_url", {"shop.site": "http://there"}.get)
    assert curl._addressed(given) == given


def test_no_platform_is_started_to_find_out_whether_it_has_such_a_function(capsys):
    assert curl._addressed(("example.com", "-I")) == ("example.com", "-I")
    assert "does not run, so example.com is taken for the name of a host" in capsys.readouterr().err
    assert not programs.is_running(paths.home())
