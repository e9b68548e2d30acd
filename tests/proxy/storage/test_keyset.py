from __future__ import annotations

from proxy.storage.keyset import Page, keyset


def test_one_text_in_both_directions() -> None:
    both = keyset("SELECT id FROM t WHERE id <beyond> $1 ORDER BY id <order>")
    assert both.of(Page(limit=5)) == "SELECT id FROM t WHERE id < $1 ORDER BY id DESC"
    assert both.of(Page(limit=5, descending=False)) == "SELECT id FROM t WHERE id > $1 ORDER BY id ASC"
