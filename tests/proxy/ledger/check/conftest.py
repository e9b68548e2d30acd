from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxy.storage.postgres import Connection, connect
from tests.populated import ledger_url

__all__ = ["ledger_url"]


@pytest.fixture
async def db(ledger_url: str) -> AsyncIterator[Connection]:
    conn = await connect(ledger_url, application_name="tests")
    try:
        yield conn
    finally:
        await conn.close()
