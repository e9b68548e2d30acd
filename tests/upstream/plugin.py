"""Fixtures: `upstream` and `tls_upstream`, scripted servers on loopback whose broken expectations fail the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.upstream import certificate
from tests.upstream.server import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server
    server.verify()


@pytest.fixture(scope="session")
def upstream_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def tls_upstream(upstream_certificate: tuple[Path, Path]) -> AsyncIterator[Upstream]:
    """Its `ca_file` is the certificate that a client must be told to trust."""
    context = certificate.server_context(*upstream_certificate)
    async with Upstream(tls=context, ca_file=str(upstream_certificate[0])) as server:
        yield server
    server.verify()
