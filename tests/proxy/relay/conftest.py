from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.proxy.outbound.conftest import loop_errors, outbound, pytest_asyncio_loop_factories, ticker
from tests.proxy.relay.raw_channel import Client
from tests.upstream.plugin import tls_upstream, upstream, upstream_certificate

__all__ = [
    "loop_errors", "outbound", "pytest_asyncio_loop_factories", "ticker", "tls_upstream", "upstream",
    "upstream_certificate",
]  # fmt: skip


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = await Client.connect()
    yield client
    await client.stop()
