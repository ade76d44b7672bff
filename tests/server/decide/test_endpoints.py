"""Endpoints of buckets that lead behind the platform's own machine."""
from __future__ import annotations

import pytest

from windlass import exception
from windlass.server.decide import endpoints


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9000", "localhost:9000", "minio", "a.localhost", "10.0.0.7", "172.16.3.4", "192.168.1.1", "0.0.0.0",
        "169.254.169.254", "100.64.0.1", "metadata.google.internal", "nas.local", "[::1]", "[fd00::1]", "[fe80::1]",
        "[::ffff:127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::808:808]", "[::127.0.0.1]", "[::8.8.8.8]",
        "[::ffff:0:7f00:1]", "[2002:7f00:1::]", "127.1", "0x7f000001", "2130706433", "user@10.1.2.3", "LOCALHOST.",
        "224.0.0.1", "",
    ],
)  # fmt: skip
def test_what_lies_behind_the_machine_is_refused_and_the_setting_named(host):
    with pytest.raises(exception.PermissionDeniedError) as caught:
        endpoints.is_public(f"http://{host}", "")
    assert "WINDLASS_SERVER_BUCKET_ENDPOINTS" in caught.value.hint


@pytest.mark.parametrize("host", ["s3.example.org", "1.1.1.1:9000", "[2606:4700::1111]"])
def test_what_lies_outside_is_not(host):
    assert endpoints.is_public(f"https://{host}/x", "")
    assert endpoints.is_public("", "")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("minio", "nas, Minio"), ("10.0.0.7:9000", "10.0.0.0/24"), ("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")],
)
def test_what_the_setting_names_is_taken_as_it_is(host, allowed):
    assert not endpoints.is_public(f"http://{host}", allowed)
    with pytest.raises(exception.PermissionDeniedError):
        endpoints.is_public(f"http://{host}", "10.9.0.0/24,other")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://[::", "http://127%2e0.0.1", "http://127\u30020\u30020\u30021", "http://a b",
        "http://8.8.8.8%c3%a9.evil.com", "http://s3.example.org:99999", "http://s3.example.org:x",
        f"http://{'a' * 70}.example.org", "http://a..example.org",
    ],
)  # fmt: skip
def test_an_address_that_is_none_or_may_be_read_as_another_is_refused(endpoint):
    with pytest.raises(exception.InvalidError):
        endpoints.is_public(endpoint, "")


@pytest.mark.parametrize("endpoint", ["", "https://s3.example.org", "http://none:9000"])
def test_where_the_setting_says_none_there_are_no_buckets_for_others(endpoint):
    with pytest.raises(exception.PermissionDeniedError, match="may mount no buckets"):
        endpoints.is_public(endpoint, "none")


def test_a_record_without_a_note_of_who_made_it_gives_what_anybody_may_have():
    def noted(endpoint, allowed="", **notes):
        return endpoints.noted({"endpoint": endpoint, **notes}, allowed)

    assert noted("http://127.0.0.1:9000", public=False) == {"public": False, "alone": False}, "the owner's"
    assert noted("http://127.0.0.1:9000") == {"public": True, "alone": False}, "so its container does not start"
    assert noted("http://127.0.0.1:9000", "127.0.0.1") == {"public": False, "alone": True}
    assert noted("https://s3.example.org") == {"public": True, "alone": False}
    assert noted("https://s3.example.org", "none") == {"public": True, "alone": False}
