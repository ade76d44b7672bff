"""Which certificates users pin."""
from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from windlass import exception
from windlass.server.objects import certificate


def _given(path: Path, subject: str, issuer: str) -> Path:
    def name(text: str) -> Any:
        return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
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
