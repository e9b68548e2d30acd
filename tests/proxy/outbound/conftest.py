from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from proxy.outbound.pool import Pool
from proxy.outbound.ticker import Ticker
from proxy.outbound.tls import client_context
from tests.proxy.outbound.sinks import LoopErrors
from tests.upstream.plugin import tls_upstream, upstream, upstream_certificate

__all__ = ["tls_upstream", "upstream", "upstream_certificate"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: they differ in how they lose connections and buffer writes."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def ticker() -> AsyncIterator[Ticker]:
    ticker = Ticker(0.02)
    ticker.start()
    yield ticker
    ticker.stop()


@pytest.fixture
async def outbound(ticker: Ticker, loop_errors: LoopErrors) -> AsyncIterator[Pool]:
    pool = Pool(ticker, client_context())
    yield pool
    await pool.close()


@pytest.fixture
async def loop_errors() -> AsyncIterator[LoopErrors]:
    """A test fails if the event loop saw an exception that nobody handled, unless the test takes it out."""
    errors = LoopErrors()
    asyncio.get_running_loop().set_exception_handler(errors)
    yield errors
    assert not errors.seen, errors.seen
