"""Lists by keyset: the same SQL text in both directions, made once at import, so that a query stays a constant."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID


class Page(NamedTuple):
    """A slice of a list that is ordered by id. `after` is exclusive. A store returns up to `limit` + 1 rows: one more
    than asked says that a next page exists.
    """

    limit: int
    after: UUID | None = None
    descending: bool = True


class Keyset(NamedTuple):
    ascending: str
    descending: str

    def of(self, page: Page) -> str:
        return self.descending if page.descending else self.ascending


def keyset(sql: str) -> Keyset:
    """`<beyond>` becomes the comparison with the cursor, `<order>` the direction."""
    return Keyset(
        ascending=sql.replace("<beyond>", ">").replace("<order>", "ASC"),
        descending=sql.replace("<beyond>", "<").replace("<order>", "DESC"),
    )
