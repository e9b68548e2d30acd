"""One house for all that need no other: starting one takes seconds, and what survived one test must survive the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.promises.crowd import Crowd
from tests.promises.house import House, living
from tests.promises.provider import Provider, config


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[House]:
    """Two gateways, a worker, their own stores."""
    with living(tmp_path_factory.mktemp("house"), config(provider.base_url)) as house:
        yield house


@pytest.fixture
def crowd(house: House, request: pytest.FixtureRequest) -> Crowd:
    return Crowd(house, request.node.name, log_from=house.log.stat().st_size)
