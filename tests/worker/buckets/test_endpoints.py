"""Endpoints whose names mean something behind this machine."""
from __future__ import annotations

import asyncio
import socket

import pytest

from windlass import exception
from windlass.worker.buckets import fence


@pytest.mark.parametrize("meaning", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::7"])
def test_a_public_name_that_means_a_private_address_is_refused(meaning, monkeypatch):
    def resolved(*args: object, **options: object) -> list:
        family = socket.AF_INET6 if ":" in meaning else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (where, 443)) for where in ("1.1.1.1", meaning)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with pytest.raises(exception.PermissionDeniedError, match="leads to") as caught:
        asyncio.run(fence.check_outside("https://rebound.example.org"))
    assert "WINDLASS_SERVER_BUCKET_ENDPOINTS" in caught.value.hint


def test_one_that_lies_outside_or_means_nothing_is_left_to_the_mount(monkeypatch):
    asyncio.run(fence.check_outside("https://1.1.1.1:9000/x"))

    def unknown(*args: object, **options: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    asyncio.run(fence.check_outside("https://nothing.example.org"))


MOUNT = {"endpoint": "http://127.0.0.1:9000", "bucket": "lake"}


def test_the_owners_bucket_has_no_fence_and_all_others_have_one():
    assert fence.of({**MOUNT, "public": False}, "x") == fence.none("http://127.0.0.1:9000")
    assert fence.of({**MOUNT, "public": True}, "x") == {"name": "x", "blocked": False, "places": []}
    alone = fence.of({**MOUNT, "alone": True}, "x")
    assert alone == {"name": "x", "blocked": True, "places": [("127.0.0.1", 9000)]}, "loopback alone, by a relay"
    assert fence.of({**MOUNT, "endpoint": "http://nas.lan", "alone": True}, "x")["blocked"] is False
    assert fence.of({**MOUNT, "endpoint": "", "public": True}, "x")["name"] == "x", "S3 itself, too"
