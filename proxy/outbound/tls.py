"""Whom we believe: the system's and Mozilla's authorities, and those the operator adds. Verification has no switch."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi


def client_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """`extra_ca_file` (PEM) adds authorities, for models behind a company's own. It replaces none.

    Mozilla's list comes along because small images have no system store; SSL_CERT_FILE is honoured by OpenSSL.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    if extra_ca_file is not None:
        context.load_verify_locations(cafile=str(extra_ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A server that prefers h2 must be told that we speak 1.1
    context.set_alpn_protocols(["http/1.1"])
    return context
