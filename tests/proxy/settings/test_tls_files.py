"""Certificates that are none, keys of others: told before a process starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from proxy.settings.tls_files import problems
from tests.upstream import certificate


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    return certificate.make(tmp_path)[0]


@pytest.fixture
def key(cert: Path) -> Path:
    return cert.with_name("upstream-key.pem")


@pytest.fixture
def junk(tmp_path: Path) -> Path:
    path = tmp_path / "junk.pem"
    path.write_text("junk")
    return path


def test_pair_that_fits(cert: Path, key: Path) -> None:
    assert list(problems(cert, key, cert)) == [] and list(problems(None, None, None)) == []


def test_key_of_another(cert: Path, tmp_path: Path) -> None:
    other = certificate.make(tmp_path / "other")[1]
    ((path, text),) = problems(cert, other, None)
    assert path == ("server", "tls_key_file") and "is not the key of the certificate" in text


def test_no_certificate(key: Path, junk: Path) -> None:
    for file in (key, junk):
        ((path, text),) = problems(file, key, None)
        assert path == ("server", "tls_cert_file") and "holds no certificate" in text


def test_no_key(cert: Path, junk: Path) -> None:
    for file in (cert, junk):
        ((path, text),) = problems(cert, file, None)
        assert path == ("server", "tls_key_file") and "holds no private key" in text


def test_key_with_a_password(cert: Path, key: Path) -> None:
    """Nobody could type it: a gateway would wait for ever, or for a terminal that it does not have."""
    opened = serialization.load_pem_private_key(key.read_bytes(), None)
    sealing = serialization.BestAvailableEncryption(b"canary")
    key.write_bytes(
        opened.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    )
    ((path, text),) = problems(cert, key, None)
    assert path == ("server", "tls_key_file") and "sealed with a password" in text


def test_authorities_of_providers(junk: Path) -> None:
    ((path, text),) = problems(None, None, junk)
    assert path == ("upstream", "ca_file") and "holds no certificate" in text
