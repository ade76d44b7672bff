"""Endpoints whose names mean something behind this machine."""
from __future__ import annotations

import asyncio
import socket

import pytest

from windlass import exception
from windlass.worker.buckets import service


@pytest.mark.parametrize("meaning", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::7"])
def test_a_public_name_that_means_a_private_address_is_refused(meaning, monkeypatch):
    def resolved(*args: object, **options: object) -> list:
        family = socket.AF_INET6 if ":" in meaning else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (where, 443)) for where in ("1.1.1.1", meaning)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with pytest.raises(exception.PermissionDeniedError, match="leads to") as caught:
        asyncio.run(service._check_outside("https://rebound.example.org"))
    assert "WINDLASS_SERVER_BUCKET_ENDPOINTS" in caught.value.hint


def test_one_that_lies_outside_or_means_nothing_is_left_to_the_mount(monkeypatch):
    asyncio.run(service._check_outside("https://1.1.1.1:9000/x"))

    def unknown(*args: object, **options: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    asyncio.run(service._check_outside("https://nothing.example.org"))
