"""What `windlass server start` takes of users on other machines, and what it refuses."""
from __future__ import annotations

import click
import pytest

from windlass.cli import exposure
from windlass.server import settings

NOTHING = {
    "listen": None, "no_listen": False, "tls_cert": None, "tls_key": None, "no_tls": False, "insecure": False,
    "public_host": None, "web_host": None,
}  # fmt: skip


def wanted(**said):
    return exposure.wanted(**{**NOTHING, **said})


@pytest.mark.parametrize(
    "said",
    [
        {"listen": "8643"},
        {"listen": "0.0.0.0:many"},
        {"listen": "0.0.0.0:1", "no_tls": True},
        {"listen": "gpu.example.org:1", "no_tls": True},
        {"listen": "127.0.0.1:1", "no_tls": True, "tls_cert": "/c"},
        {"listen": "127.0.0.1:1", "tls_key": "/k"},
        {"no_tls": True},
        {"public_host": "h"},
    ],
)
def test_what_does_not_fit_or_would_send_secrets_in_clear_is_a_usage_error(said):
    with pytest.raises(click.UsageError):
        wanted(**said)


def test_without_tls_only_loopback_or_who_insists():
    assert wanted(listen="127.0.0.1:1", no_tls=True)["tls"] == "none"
    assert wanted(listen="[::1]:1", no_tls=True)["tls"] == "none"
    assert wanted(listen="0.0.0.0:1", no_tls=True, insecure=True)["tls"] == "none"


def test_what_was_said_holds_for_later_starts_until_it_is_taken_back(tmp_path):
    assert wanted() is None
    exposure.note(tmp_path, wanted(listen="0.0.0.0:8643", public_host="gpu"))
    exposure.note(tmp_path, None)
    read = settings.from_environment(tmp_path, {})
    assert (read.listen, read.tls, read.web_host, read.web_name) == ("0.0.0.0:8643", "own", "0.0.0.0", "gpu")
    exposure.note(tmp_path, wanted(no_listen=True))
    assert settings.from_environment(tmp_path, {}).listen == ""


def test_web_functions_of_a_port_of_this_machine_alone_stay_there():
    assert "web_host" not in wanted(listen="127.0.0.1:8643")
    assert wanted(listen="127.0.0.1:8643", web_host="10.1.2.3")["web_name"] == "10.1.2.3"
