"""Certificates of the web edge: those that somebody gave, and those of a local authority, made as names are asked for.

The authority may only vouch for names below ``localhost`` and addresses of loopback, so that whoever trusts it trusts
it with nothing else.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import re
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from windlass import exception
from windlass.server.objects import certificate

_NAME = re.compile(r"[a-z0-9.-]{1,253}\Z")
_YEARS = datetime.timedelta(days=3650)
_YEAR = datetime.timedelta(days=397)
_RENEW = datetime.timedelta(days=30)
_LOOK = 86400.0
_log = logging.getLogger(__name__)
_Key = ec.EllipticCurvePrivateKey


class _Loaded:
    """A context, and which file it was made of: one that was ``given``, or one that is made anew in time."""

    def __init__(self, context: ssl.SSLContext, given: Path | None) -> None:
        self.context = context
        self._seen = certificate.seen(given)
        self._until = time.monotonic() + _LOOK

    def still(self, given: Path | None) -> bool:
        """Whether it is the one to show. Of those that are made, only the day says that they may be about to expire."""
        return self._seen == certificate.seen(given) and (given is not None or time.monotonic() < self._until)


class Authority:
    """In ``folder``: ``authority.pem`` and its key, ``given/<domain>.pem`` (chain and key; ``_.example.org.pem`` for
    all below), ``made/<name>.pem``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts: dict[str, _Loaded] = {}

    @property
    def certificate(self) -> Path:
        """What browsers must trust."""
        return self._folder / "authority.pem"

    @property
    def wanted(self) -> bool:
        """Whether there is anything to speak TLS with."""
        return self.certificate.exists() or any(self._folder.glob("given/*.pem"))

    def make(self) -> None:
        """The authority, unless there is one."""
        if self.certificate.exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "Windlass local authority")])
        builder = _begun(name, name, key, _YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        loopback = [x509.IPAddress(ipaddress.ip_network(network)) for network in ("127.0.0.0/8", "::1/128")]
        only = x509.NameConstraints(permitted_subtrees=[x509.DNSName("localhost"), *loopback], excluded_subtrees=None)
        builder = builder.add_extension(only, critical=True)
        signed = builder.sign(key, hashes.SHA256())
        _write(self._folder / "authority.key", _pem(key))
        _write(self.certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)

    def context(self) -> ssl.SSLContext:
        """For the listener. ``choose`` gives each name its certificate."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        return made

    def choose(self, name: str, *, known: bool) -> ssl.SSLContext | None:
        """The context for ``name``; None where there is none. ``known``: whether something answers at it."""
        name = name.lower().rstrip(".")
        if not _NAME.match(name) or ".." in name:
            return None
        given, kept = self._given(name), self._contexts.get(name)
        if kept is not None and kept.still(given):
            return kept.context
        path = given
        if path is None and self.certificate.exists() and known:
            path = self._made(name)
        if path is None:
            return None
        return self._loaded(name, path, given)

    def _loaded(self, name: str, path: Path, given: Path | None) -> ssl.SSLContext | None:
        """Of a file that is new or was replaced. One that is just being written keeps the context from before."""
        fresh, kept = _Loaded(self.context(), given), self._contexts.get(name)
        try:
            fresh.context.load_cert_chain(path)
        except (OSError, ssl.SSLError) as exc:
            _log.warning("the certificate %s cannot be used: %s", path, exc)
            return None if kept is None else kept.context
        self._contexts[name] = fresh
        return fresh.context

    def given(self, name: str) -> bool:
        """Whether somebody gave a certificate for ``name``."""
        return bool(_NAME.match(name)) and ".." not in name and self._given(name) is not None

    def speaking(self, name: str, protocols: list[str]) -> ssl.SSLContext:
        """A context of one's own for ``name``, for which there is a certificate or can be made one."""
        made = self.context()
        made.set_alpn_protocols(protocols)
        made.load_cert_chain(self._given(name) or self._made(name))
        return made

    def _given(self, name: str) -> Path | None:
        parent = name.partition(".")[2]
        for candidate in (self._folder / "given" / f"{name}.pem", self._folder / "given" / f"_.{parent}.pem"):
            if candidate.exists():
                return candidate
        return None

    def _made(self, name: str) -> Path:
        path = self._folder / "made" / f"{name}.pem"
        if path.exists():
            kept = x509.load_pem_x509_certificate(path.read_bytes())
            if kept.not_valid_after_utc > datetime.datetime.now(datetime.timezone.utc) + _RENEW:
                return path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        signer = serialization.load_pem_private_key((self._folder / "authority.key").read_bytes(), None)
        if not isinstance(signer, _Key):
            raise exception.DataLossError("the key of the local authority is none of ours")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, name[:64])])
        builder = _begun(subject, issuer.subject, key, _YEAR)
        builder = builder.add_extension(x509.SubjectAlternativeName(_called(name)), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        signed = builder.sign(signer, hashes.SHA256())
        chain = signed.public_bytes(serialization.Encoding.PEM) + self.certificate.read_bytes()
        _write(path, _pem(key) + chain)
        return path


def _called(name: str) -> list[x509.GeneralName]:
    """All that a certificate holds for: who asks at an address names no host, and is shown that of ``localhost``."""
    addresses = ("127.0.0.1", "::1") if name == "localhost" else ()
    return [x509.DNSName(name), *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]


def _begun(subject: x509.Name, issuer: x509.Name, key: _Key, life: datetime.timedelta) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + life)
    )


def _pem(key: _Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.touch(0o600)
    fresh.write_bytes(data)
    fresh.chmod(mode)
    fresh.replace(path)
