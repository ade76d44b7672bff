"""Whose word counts about who asks."""
from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import fronts

TRUSTED = fronts.networks("127.0.0.1, 10.0.0.0/8, ::1")
PEER = fronts.Client("127.0.0.1", 4000, "http", "shown:80")


def who(*forwarded: str, scheme: str | None = None, host: str | None = None) -> fronts.Client:
    return fronts.client(TRUSTED, PEER, forwarded=forwarded, scheme=scheme, host=host)


def test_the_last_address_that_is_no_proxy_of_ours_is_the_clients():
    assert who("203.0.113.7").address == "203.0.113.7"
    assert who("1.2.3.4, 203.0.113.7, 10.1.2.3").address == "203.0.113.7"
    assert who("1.2.3.4", "203.0.113.7").address == "203.0.113.7"
    assert who("10.0.0.9").address == "10.0.0.9"
    assert who() == PEER


def test_what_is_no_address_ends_the_chain():
    assert who("203.0.113.7, evil").address == "127.0.0.1"
    assert who("203.0.113.7, nonsense, 10.1.1.1").address == "10.1.1.1"


def test_scheme_and_host_are_taken_where_they_make_sense():
    found = who("203.0.113.7", scheme="https", host="shop.example.org")
    assert found == fronts.Client("203.0.113.7", 0, "https", "shop.example.org")
    assert who(scheme="ftp", host="a\r\nb") == PEER
    assert who(host="ü" * 3).host == "shown:80" and who(host="a" * 300).host == "shown:80"


def test_addresses_of_both_families_are_known():
    assert fronts.trusts(TRUSTED, "::ffff:10.1.1.1") and fronts.trusts(TRUSTED, "::1")
    assert not fronts.trusts(TRUSTED, "203.0.113.7") and not fronts.trusts(TRUSTED, "") and not fronts.trusts((), "::1")


def test_bad_settings_are_refused():
    for text in ("localhost", "10.0.0.1/8", "10.0.0.0/33"):
        with pytest.raises(exception.InvalidError, match="trusted proxies"):
            fronts.networks(text)
    for text in ("https://apps.example.org", "ftp://*.a.b", "*.a.b", "https://*.a.b/path", "https://*."):
        with pytest.raises(exception.InvalidError, match="web_url"):
            fronts.outside(text)
    assert fronts.outside("") is None is fronts.outside("https")
    found = fronts.outside("https://*.apps.example.org:8443")
    assert found == ("https://", ".apps.example.org:8443", "apps.example.org")
