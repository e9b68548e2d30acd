"""The rounding that checks do in SQL is the one that money is rounded by."""

from __future__ import annotations

import random

from pricing.money import divide_half_even
from proxy.ledger.check.current import half_even
from proxy.storage.postgres import Connection


async def test_half_even_is_exact(db: Connection) -> None:
    dice = random.Random(4)
    pairs = [(dice.randrange(10 ** dice.randint(1, 30)), dice.randint(1, 10 ** dice.randint(1, 18))) for _ in range(2_000)]
    pairs += [(quotient * 10_000 + rest, 10_000) for quotient in range(4) for rest in (0, 4_999, 5_000, 5_001, 9_999)]
    pairs += [(odd, 2) for odd in range(9)]
    sql = half_even("n::numeric", "d::numeric")
    rows = await db.fetch(
        f"SELECT {sql}::text AS found FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (n, d, place) ORDER BY place",
        [str(numerator) for numerator, _ in pairs], [str(denominator) for _, denominator in pairs],
    )  # fmt: skip
    assert [int(row["found"]) for row in rows] == [divide_half_even(*pair) for pair in pairs]
