"""Certificates and keys, tried before a process starts: OpenSSL itself says what is wrong in words for its authors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path as FilePath

from proxy.settings.problem import Problem

_CERT, _KEY, _CA = ("server", "tls_cert_file"), ("server", "tls_key_file"), ("upstream", "ca_file")


def problems(cert: FilePath | None, key: FilePath | None, ca: FilePath | None) -> Iterator[Problem]:
    """All of them can be read."""
    if cert is not None and key is not None:
        yield from _pair(cert, key)
    if ca is not None and not _certificates(ca):
        yield Problem(_CA, f"{ca} holds no certificate in PEM (-----BEGIN CERTIFICATE-----).")


def _pair(cert: FilePath, key: FilePath) -> Iterator[Problem]:
    if not _certificates(cert):
        yield Problem(_CERT, f"{cert} holds no certificate in PEM (-----BEGIN CERTIFICATE-----).")
        return
    asked = False

    def password() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password)
    except ssl.SSLError as error:
        if asked:
            text = f"{key} is sealed with a password, and nobody is there to type it. openssl pkey -in … -out … opens it."
        elif error.reason == "KEY_VALUES_MISMATCH":
            text = f"{key} is not the key of the certificate in {cert}."
        else:
            text = f"{key} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)."
        yield Problem(_KEY, text)


def _certificates(file: FilePath) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return False
    return True
