"""The certificate that remote users see: one that was given, or one of our own whose fingerprint they are told."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from windlass import exception
from windlass.server import settings as settings_module

_LIFE = datetime.timedelta(days=3650)


def made(folder: Path, host: str) -> Path:
    """Key and certificate of our own, in one file: made once, so that its fingerprint stays."""
    path = folder / "remote.pem"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, "Windlass platform")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    fresh = path.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    fresh.replace(path)
    return path


def shown(settings: settings_module.Settings) -> tuple[Path, Path | None] | None:
    """The files of what remote users see, certificate and key; None where they see none."""
    if not settings.listen or settings.tls == "none":
        return None
    if settings.tls_cert:
        return Path(settings.tls_cert), Path(settings.tls_key) if settings.tls_key else None
    host = settings.public_host or settings.listen.rpartition(":")[0].strip("[]")
    return made(settings.home / "tls", host), None


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    for name in dict.fromkeys((host, socket.gethostname())):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if name and name.isascii():
                names.append(x509.DNSName(name))
    return names


def seen(*files: Path | None) -> tuple[tuple[int, int, int] | None, ...]:
    """What tells that a file was replaced or written anew."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            state = path.stat() if path is not None else None
        except OSError:
            state = None
        found.append(None if state is None else (state.st_mtime_ns, state.st_ino, state.st_size))
    return tuple(found)


def fingerprint(path: Path) -> str:
    """Of the first certificate in a file. Raises ``InvalidError`` where there is none."""
    return hashlib.sha256(_first(path).public_bytes(serialization.Encoding.DER)).hexdigest()


def pinned(path: Path) -> str:
    """The fingerprint of a certificate that vouches for itself; "" where an authority does, and renewals are taken."""
    first = _first(path)
    return fingerprint(path) if first.issuer == first.subject else ""


def _first(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError) as exc:
        raise exception.InvalidError(f"there is no certificate in {path}: {exc}") from None


def context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """For the listener. Raises ``InvalidError`` for files that do not fit."""
    chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chosen.minimum_version = ssl.TLSVersion.TLSv1_2
    chosen.set_alpn_protocols(["http/1.1"])
    try:
        chosen.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        both = f"{certificate} with the key {key}" if key is not None else str(certificate)
        raise exception.InvalidError(
            f"the certificate {both} cannot be used: {exc}", hint="Certificate and key must be PEM and fit."
        ) from None
    return chosen
