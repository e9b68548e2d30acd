"""Prices as dated records: who set one, from when until when, in place of which.

Promises: of a route at most one price is in force at any moment (the database refuses two); a price that is or was in
force keeps its items for good, as events name them: it is cut at its end, or marked superseded where another price was
put over its whole time; every price says where it comes from. config.yaml wins over a custom price, that over an
imported one, that over the price book, unless the book that ships is newer.
Left to others: counting money (pricing), correcting what was charged (ledger), who may (audit).
"""
