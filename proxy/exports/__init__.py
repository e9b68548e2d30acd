"""Files for finance: usage events, entries of the ledger, daily sums, as CSV or JSON lines.

Promises: a file is one snapshot of the ledger, exact, in a stable order of columns; it is made in constant memory, as
fast as its reader takes it; its sums are the ledger's. Whoever receives one can prove that it is whole and unchanged: the
manifest (rows, sums, SHA-256, filter, `as_of`) is kept before the end is told. A file that broke off
has no manifest and never ends cleanly.

Reads the ledger's tables and writes `exports` only. Left to others: who may have what (audit, api), HTTP (api).
"""
