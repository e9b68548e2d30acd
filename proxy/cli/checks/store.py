"""SQL of the checks. Reads only."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from asyncpg import exceptions

from proxy.storage.postgres import POSTGRES_AWAY, Connection

# There and unwilling: wrong password, no such database, no permission, an address that is none.
POSTGRES_REFUSES: tuple[type[BaseException], ...] = (exceptions.PostgresError, exceptions.InterfaceError)
POSTGRES_TROUBLE: tuple[type[BaseException], ...] = (*POSTGRES_AWAY, *POSTGRES_REFUSES)

_SERVER = "SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS now"
_LEDGER = """
SELECT (SELECT min(as_of) FROM ledger_positions) AS as_of,
       (SELECT count(*) FROM dead_letters) AS dead_letters,
       (SELECT count(*) FROM usage_events
        WHERE occurred_at > now() - interval '1 day' AND pricing = 'unpriced') AS unpriced
"""


class Server(NamedTuple):
    version: int  # 180006
    now: datetime


class Ledger(NamedTuple):
    as_of: datetime | None  # None: nothing was ever written
    dead_letters: int
    unpriced: int  # attempts of the last day


async def server(conn: Connection) -> Server:
    row = await conn.fetchrow(_SERVER, timeout=5)
    assert row is not None
    return Server(row["version"], row["now"])


async def ledger(conn: Connection) -> Ledger:
    row = await conn.fetchrow(_LEDGER, timeout=10)
    assert row is not None
    return Ledger(row["as_of"], row["dead_letters"], row["unpriced"])
