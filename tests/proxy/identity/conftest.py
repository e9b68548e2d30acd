from __future__ import annotations

import pytest

from proxy.storage.postgres import Pool
from tests.management import Deployment


@pytest.fixture
def deployment(pool: Pool) -> Deployment:
    return Deployment(pool)
