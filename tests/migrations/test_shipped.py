"""The migrations as they are shipped, on a real server."""

from __future__ import annotations

import re

from proxy.storage.migrate import migrate, pending, shipped
from proxy.storage.postgres import connect


def test_names_are_numbered_without_gaps() -> None:
    numbers = [int(re.match(r"(\d{4})_[a-z0-9_]+$", migration.name)[1]) for migration in shipped()]  # type: ignore[index]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_from_empty_and_once_more(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == [migration.name for migration in shipped()]
    assert await migrate(empty_database_url) == []
    conn = await connect(empty_database_url, application_name="tests")
    assert await pending(conn) == []
    await conn.close()


async def test_no_money_column_is_a_float_and_every_moment_has_a_zone(database_url: str) -> None:
    conn = await connect(database_url, application_name="tests")
    columns = await conn.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
    )
    await conn.close()
    assert columns
    assert [row for row in columns if row["data_type"] in ("real", "double precision")] == []
    assert [row for row in columns if row["data_type"] == "timestamp without time zone"] == []
    wrong = [row for row in columns if row["column_name"].endswith("_at") and "with time zone" not in row["data_type"]]
    assert wrong == []
