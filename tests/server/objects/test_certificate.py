"""Which certificates users pin."""
from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from windlass import exception
from windlass.kit import tasks
from windlass.server import settings
from windlass.server.ingress.remote import listening
from windlass.server.objects import authority, certificate


def _given(path: Path, subject: str, issuer: str) -> Path:
    def name(text: str) -> Any:
        return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.PrivateFormat.PKCS8
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )  # fmt: skip
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_that_vouches_for_itself_is_pinned_whoever_made_it(tmp_path):
    own = certificate.made(tmp_path, "127.0.0.1")
    given = _given(tmp_path / "given.pem", "gpu.example.org", "gpu.example.org")
    assert certificate.pinned(own) == certificate.fingerprint(own) != ""
    assert certificate.pinned(given) == certificate.fingerprint(given) != ""


def test_one_that_an_authority_vouches_for_is_not_pinned_so_that_it_can_be_renewed(tmp_path):
    assert certificate.pinned(_given(tmp_path / "given.pem", "gpu.example.org", "An authority")) == ""


def test_a_file_without_a_certificate_is_said(tmp_path):
    (tmp_path / "key.pem").write_text("no certificate")
    with pytest.raises(exception.InvalidError, match="no certificate in"):
        certificate.pinned(tmp_path / "key.pem")


def test_a_key_that_is_not_there_is_named_beside_its_certificate(tmp_path):
    given = _given(tmp_path / "given.pem", "gpu.example.org", "An authority")
    with pytest.raises(exception.InvalidError, match=r"given\.pem with the key .*gone\.key cannot be used: "):
        certificate.context(given, tmp_path / "gone.key")


async def _shown(port: int, name: str = "gpu.example.org") -> str:
    """The fingerprint of the certificate that is shown there."""
    asking = ssl.create_default_context()
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=asking, server_hostname=name)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return hashlib.sha256(shown).hexdigest()


def test_a_renewed_certificate_is_shown_without_a_restart_once_its_key_is_there_too(tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "_RENEWAL", 0.02)
    given = _given(tmp_path / "given.pem", "gpu.example.org", "An authority")
    renewed = _given(tmp_path / "renewed.pem", "gpu.example.org", "An authority")
    first, second = certificate.fingerprint(given), certificate.fingerprint(renewed)
    key = tmp_path / "given.key"
    said: list[str] = []

    async def scene() -> None:
        secure = certificate.context(given, key)
        wanted = settings.Settings(home=tmp_path, tls_cert=str(given), tls_key=str(key))
        serving = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=secure)
        port = serving.sockets[0].getsockname()[1]
        async with tasks.Tasks(lambda name, exc: None) as owner:
            owner.start(listening.renew(secure, wanted, said.append), "renewal")
            assert await _shown(port) == first
            renewed.replace(given)
            for _ in range(5):  # half of it: the old one is good as long
                assert await _shown(port) == first
                await asyncio.sleep(0.02)
            (tmp_path / "renewed.key").replace(key)
            deadline = time.monotonic() + 10
            while await _shown(port) != second:
                assert time.monotonic() < deadline
        serving.close()

    asyncio.run(scene())
    assert said == ["", ""], "an authority vouches for both: nothing is pinned"


def test_a_certificate_that_is_given_for_a_domain_is_taken_anew_when_it_was_replaced(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    kept = authority.Authority(tmp_path)

    def give(name: str) -> str:
        made = _given(tmp_path / name, "shop.example.org", "An authority")
        text = made.read_bytes() + made.with_suffix(".key").read_bytes()
        (folder / "new").write_bytes(text)
        (folder / "new").replace(folder / "shop.example.org.pem")
        return certificate.fingerprint(made)

    async def shown() -> str:
        chosen = kept.choose("shop.example.org", known=True)
        assert chosen is not None and kept.choose("shop.example.org", known=True) is chosen
        serving = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=chosen)
        async with serving:
            return await _shown(serving.sockets[0].getsockname()[1], "shop.example.org")

    assert kept.choose("shop.example.org", known=True) is None
    for name in ("one.pem", "two.pem"):
        assert give(name) == asyncio.run(shown())
    before = kept.choose("shop.example.org", known=True)
    (folder / "shop.example.org.pem").write_text("half of")
    assert kept.choose("shop.example.org", known=True) is before
