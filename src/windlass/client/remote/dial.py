"""A connection to a platform's port, with TLS: certificates that the system trusts, or the one that is pinned."""
from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from windlass import exception
from windlass.client.remote import place, proxies

P = TypeVar("P", bound=asyncio.BaseProtocol)

PATIENCE = 10.0
"""Seconds for a connection and its handshakes."""
_OTHER = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
_BY_THE_CLOCK = frozenset({9, 10})  # OpenSSL's codes: not yet valid, expired


class NoTLS(OSError):
    """Whoever answers speaks something else."""


async def connect(where: place.Place, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """Connect.

    Raises:
        OSError: nobody is reached; ``NoTLS``, who does not speak it.
        AuthError: it shows a certificate that it must not have.
    """
    try:
        transport, protocol = await asyncio.wait_for(_connect(where, factory), PATIENCE)
    except asyncio.TimeoutError:
        raise OSError(f"no answer within {PATIENCE:.0f} s") from None
    except ssl.SSLCertVerificationError as exc:
        raise _untrusted(where, exc) from None
    except ssl.SSLError as exc:
        if exc.reason not in _OTHER:
            raise
        raise NoTLS("what answers there does not speak TLS") from None
    try:
        if where.fingerprint:
            _compare(where, transport.get_extra_info("ssl_object"))
    except BaseException:
        transport.abort()
        raise
    return transport, protocol


async def _connect(where: place.Place, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    secure = _context(where) if where.is_secure else None
    name = where.host if where.is_secure else None
    loop, proxy = asyncio.get_running_loop(), proxies.before(where.host, is_secure=where.is_secure)
    if proxy is None:
        return await loop.create_connection(factory, where.host, where.port, ssl=secure, server_hostname=name)
    transport = await proxies.through(proxy, where.host, where.port)
    protocol = factory()
    if secure is None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return transport, protocol
    transport.set_protocol(protocol)
    upgraded = await loop.start_tls(transport, protocol, secure, server_hostname=name)
    if upgraded is None:
        raise OSError("the connection was lost")
    protocol.connection_made(upgraded)
    return upgraded, protocol


def connect_and_wait(where: place.Place) -> socket.socket:
    """The same without an event loop, and without a proxy on the way."""
    end = socket.create_connection((where.host, where.port), PATIENCE)
    try:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not where.is_secure:
            return end
        end = wrapped = _context(where).wrap_socket(end, server_hostname=where.host)
        if where.fingerprint:
            _compare(where, wrapped)
    except BaseException:
        end.close()
        raise
    return wrapped


def _context(where: place.Place) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if where.fingerprint:  # the fingerprint says more than any authority
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _compare(where: place.Place, shown: ssl.SSLSocket | ssl.SSLObject) -> None:
    found = hashlib.sha256(shown.getpeercert(binary_form=True) or b"").hexdigest()
    if found != where.fingerprint:
        raise exception.AuthError(
            f"{where.origin} shows another certificate than expected: its fingerprint is sha256:{found}, "
            f"expected was sha256:{where.fingerprint}",
            hint="If the platform has a new certificate, set server_fingerprint to what `windlass server status` shows "
            "on its machine, or remove it if that shows none; otherwise somebody stands between.",
        )


def _untrusted(where: place.Place, exc: ssl.SSLCertVerificationError) -> exception.AuthError:
    if exc.verify_code in _BY_THE_CLOCK:
        import datetime  # costly, and seldom needed

        now = datetime.datetime.now(datetime.timezone.utc)
        return exception.AuthError(
            f"the certificate of {where.origin} is not good at this machine's time, {now:%Y-%m-%d %H:%M} UTC: "
            f"{exc.verify_message}",
            hint="If that time is wrong, set this machine's clock; else the platform needs a certificate of today.",
        )
    return exception.AuthError(
        f"the certificate of {where.origin} is not trusted: {exc.verify_message or exc.reason}",
        hint="For a certificate that the platform made itself, set server_fingerprint to what `windlass server status` "
        "shows on its machine; for that of a company, set SSL_CERT_FILE.",
    )
